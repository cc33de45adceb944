//! The merge of replies to INFO.

use super::*;
use crate::resp::read;

fn reply(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn merged_text(texts: &[&str]) -> String {
    let replies: Vec<String> = texts.iter().map(|text| reply(text)).collect();
    let replies: Vec<&str> = replies.iter().map(String::as_str).collect();
    let merged = resp2("INFO", &replies);
    match read::string(merged.as_bytes()) {
        Some(text) => String::from_utf8(text.to_vec()).unwrap(),
        None => merged,
    }
}

#[test]
fn keys_are_summed_and_the_rest_is_of_the_first_node() {
    let first = "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n\r\n\
        # Cluster\r\ncluster_enabled:1\r\n\r\n\
        # Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=100\r\n";
    let second = "# Server\r\nredis_version:7.0.16\r\nredis_mode:cluster\r\n\r\n\
        # Cluster\r\ncluster_enabled:1\r\n\r\n\
        # Keyspace\r\ndb0:keys=10,expires=3,avg_ttl=500\r\n";
    assert_eq!(
        merged_text(&[first, second]),
        "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n\
        # Cluster\r\ncluster_enabled:0\r\n\r\n\
        # Keyspace\r\ndb0:keys=12,expires=4,avg_ttl=400\r\n"
    );
}

#[test]
fn client_may_see_a_node_of_a_cluster() {
    let rule = MergeRule {
        response: ResponsePolicy::NodeInfo,
        writes: false,
    };
    let text = reply("redis_mode:standalone\r\nother:1\r\ncluster_enabled:0\r\n");
    let mut merge = Merge::new(rule, 1);
    merge.part(0, text.as_bytes());
    let shown = reply("redis_mode:cluster\r\nother:1\r\ncluster_enabled:1\r\n");
    assert_eq!(merge.finish(Protocol::Resp2), shown.as_bytes());
}

#[test]
fn database_that_the_first_node_lacks_is_added() {
    let section = "# Keyspace\r\n";
    let one = "# Keyspace\r\ndb9:keys=1,expires=0,avg_ttl=0,subexpiry=2\r\n";
    let two = "# Keyspace\r\ndb10:keys=1,expires=0,avg_ttl=0\r\ndb9:keys=3,expires=0,avg_ttl=7\r\n";
    assert_eq!(
        merged_text(&[section, one, two]),
        "# Keyspace\r\ndb9:keys=4,expires=0,avg_ttl=0,subexpiry=2\r\n\
        db10:keys=1,expires=0,avg_ttl=0\r\n"
    );
    assert_eq!(merged_text(&[section, section]), section);
}

#[test]
fn other_sections_keep_lines_that_look_like_databases() {
    let text = "# Modules\r\ndb0:keys=x\r\n# Keysizes\r\ndb0_distrib_strings_sizes:1=2\r\n";
    assert_eq!(merged_text(&[text, text]), text);
}

#[test]
fn verbatim_string_stays_one() {
    let text = "=38\r\ntxt:# Keyspace\r\ndb0:keys=1,expires=0\r\n\r\n";
    assert_eq!(
        merged("INFO keyspace", Protocol::Resp3, &[text, text]),
        "=38\r\ntxt:# Keyspace\r\ndb0:keys=2,expires=0\r\n\r\n"
    );
}

#[test]
fn databases_that_cannot_be_read_are_unexpected() {
    let good = reply("# Keyspace\r\ndb0:keys=9223372036854775807\r\n");
    let many = format!("# Keyspace\r\ndb0:{}\r\n", vec!["a=1"; 20].join(","));
    assert!(merged_text(&[&many]).contains("a=20"));
    let many: Vec<String> = (0..20).map(|n| format!("f{n}=1")).collect();
    for text in [
        "# Keyspace\r\ndb0:keys\r\n",
        "# Keyspace\r\ndb0:keys=-1\r\n",
        "# Keyspace\r\ndb0:keys=9223372036854775808\r\n",
        "# Keyspace\r\ndb0:\r\n",
        &format!("# Keyspace\r\ndb0:{}\r\n", many.join(",")),
        "# Keyspace\r\ndb0:keys=9223372036854775807\r\ndb0:keys=9223372036854775807\r\n",
    ] {
        let merged = resp2("INFO", &[&good, &reply(text)]);
        assert_eq!(
            merged, "-ERR elika: unexpected reply from a shard\r\n",
            "{text}"
        );
    }
    for other in ["+OK\r\n", "$-1\r\n", "*0\r\n", "$5\r\nab\r\n"] {
        let merged = resp2("INFO", &[&good, other]);
        assert_eq!(
            merged, "-ERR elika: unexpected reply from a shard\r\n",
            "{other}"
        );
    }
}
