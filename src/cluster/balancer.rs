//! Which instance of a cluster a new client gets.

/// How one of several instances is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancer {
    /// Any of them.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest clients; of several any.
    LeastConn,
}

impl Balancer {
    /// The index of the one to take, of instances that have so many clients. `turn` counts the
    /// choices made so far, `random` is a random number. `None` if there are none.
    pub fn choose(self, clients: &[u32], turn: u64, random: u64) -> Option<usize> {
        let nth = |n: u64, of: usize| n.checked_rem(of as u64).map(|i| i as usize);
        match self {
            Self::Random => nth(random, clients.len()),
            Self::RoundRobin => nth(turn, clients.len()),
            Self::LeastConn => {
                let least = clients.iter().min()?;
                let mut fewest = (0..clients.len()).filter(|&i| clients.get(i) == Some(least));
                fewest.nth(nth(random, fewest.clone().count())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Balancer; 3] = [Balancer::Random, Balancer::RoundRobin, Balancer::LeastConn];

    #[test]
    fn there_is_nothing_to_choose_from_nothing() {
        for balancer in ALL {
            assert_eq!(balancer.choose(&[], 7, 7), None);
            assert_eq!(balancer.choose(&[3], u64::MAX, u64::MAX), Some(0));
        }
    }

    #[test]
    fn each_gets_its_share() {
        for balancer in ALL {
            let mut clients = [0; 3];
            for turn in 0..300 {
                let chosen = balancer.choose(&clients, turn, turn.wrapping_mul(7_919));
                clients[chosen.unwrap()] += 1;
            }
            assert_eq!(clients, [100, 100, 100], "{balancer:?}");
        }
    }

    #[test]
    fn a_newcomer_catches_up_when_the_fewest_count() {
        for random in 0..10 {
            let balancer = Balancer::LeastConn;
            assert_eq!(balancer.choose(&[5, 1, 5], random, random), Some(1));
            assert_ne!(balancer.choose(&[1, 2, 1], random, random), Some(1));
        }
    }
}
