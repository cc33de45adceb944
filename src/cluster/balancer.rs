//! Chooses the instance of a cluster for a new client.

/// How an instance of a cluster is chosen for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancer {
    /// A random instance.
    #[default]
    Random,
    /// The instances in turn.
    RoundRobin,
    /// The instance with the fewest clients; a random one of those when several have the fewest.
    LeastConn,
}

impl Balancer {
    /// Chooses an instance and returns its index. `clients` has the number of clients of each
    /// instance, `turn` counts the choices made before, and `random` is a random number. Returns
    /// `None` when there is no instance.
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
    fn no_instance_is_chosen_when_there_is_none() {
        for balancer in ALL {
            assert_eq!(balancer.choose(&[], 7, 7), None);
            assert_eq!(balancer.choose(&[3], u64::MAX, u64::MAX), Some(0));
        }
    }

    #[test]
    fn every_instance_gets_the_same_share_of_clients() {
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
    fn least_conn_chooses_the_instance_with_the_fewest_clients() {
        for random in 0..10 {
            let balancer = Balancer::LeastConn;
            assert_eq!(balancer.choose(&[5, 1, 5], random, random), Some(1));
            assert_ne!(balancer.choose(&[1, 2, 1], random, random), Some(1));
        }
    }
}
