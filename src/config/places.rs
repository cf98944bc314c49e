//! Where stores read and write: a source that is its own target would feed on itself, and two stores that write to one
//! place would undo each other.

use std::net::Ipv4Addr;

use super::Region;
use super::problem::show_text;

/// A place that is read or written: the same for two stores exactly when they would touch the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    kind: &'static str,
    region: String,
    endpoint: Option<String>,
    name: String,
}

impl Place {
    pub(super) fn new(kind: &'static str, region: &Region, name: String) -> Self {
        Self { kind, region: region.region.clone(), endpoint: endpoint(region), name }
    }

    fn words(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{:?} in {} at {endpoint}", self.name, self.region),
            None => format!("{:?} in {}", self.name, self.region),
        }
    }
}

/// The endpoint in one spelling; `None` is AWS. Without user and password: they say who calls and not where, and this
/// is shown.
pub(super) fn endpoint(region: &Region) -> Option<String> {
    let text = region.endpoint_url.as_deref()?;
    let spelled = match reqwest::Url::parse(text) {
        Ok(mut url) => match url.set_password(None).and_then(|()| url.set_username("")) {
            Ok(()) => String::from(url),
            Err(()) => show_text(text),
        },
        Err(_) => show_text(text),
    };
    Some(spelled.trim_end_matches('/').replace("//localhost", "//127.0.0.1"))
}

/// Whether a URL stays on this machine.
pub(super) fn loopback(url: &reqwest::Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let v4 = host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    v4 || host == "[::1]" || host == "localhost" || host.ends_with(".localhost")
}

/// `(index, what, hint)` of every store whose places clash. Each entry of `places`: index, label, source, target.
pub(super) fn clashes(places: &[(usize, String, Place, Place)]) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for (n, (at, _, source, target)) in places.iter().enumerate() {
        if source == target {
            let what = format!("a source that is its own target: it reads and writes {}", target.words());
            found.push((*at, what, "give the standby another region, endpoint_url or name"));
        }
        for (_, label, other_source, other_target) in places.iter().take(n) {
            if target == other_target {
                let what = format!("writes to {}, as {label} does: they would undo each other", target.words());
                found.push((*at, what, "give one of them another name in the standby, or remove one"));
            }
            if source != target && (target == other_source || source == other_target) {
                let what = format!("one end is the other end of {label}: a change would go round between them");
                found.push((*at, what, "give one of them another region or name"));
            }
        }
    }
    found
}
