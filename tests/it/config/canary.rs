//! What a configuration says about the canaries of a replicated table.

use std::time::Duration;

use super::{BASE, accepted, listed, refused};

#[test]
fn canaries_are_checked_and_raise_the_floor() {
    let with = |keys: &str| BASE.replace("table = \"orders\"", &format!("table = \"orders\"\n{keys}"));
    let checked = accepted(&with("canary_keys = 2\nrpo = \"20s\""));
    assert_eq!(checked.config.stores[0].settings.floor(), Duration::from_secs(31));
    let shown = listed(&checked.warnings);
    assert!(shown.contains("below the 31s") && shown.contains("canary_every 10s + propagation 10s"), "{shown}");
    let idle = listed(&accepted(&with("canary_every = \"5s\"")).warnings);
    assert!(idle.contains("canary_every") && idle.contains("set canary_keys"), "{idle}");
    accepted(&with("canary_keys = 2\ncanary_numbers = [\"-1\", \"-2e3\"]"));
    for (keys, says) in [
        ("canary_keys = 65", "out of bounds"),
        ("canary_keys = 1\ncanary_prefix = \"a\\u0007b\"", "cannot begin the key"),
        ("canary_keys = 2\ncanary_numbers = [\"1\"]", "names 1 and canary_keys is 2"),
        ("canary_keys = 2\ncanary_numbers = [\"1\", \"1.0\"]", "names a number twice"),
        ("canary_keys = 1\ncanary_numbers = [\"x\"]", "is no number"),
    ] {
        let shown = refused(&with(keys));
        assert!(shown.contains(says), "{keys}: {shown}");
    }
}
