//! Free TCP ports on the loopback interface.
//!
//! A server that is killed and started again on its port must find it free. So ports come from below the range from
//! which the kernel takes the ports of outgoing connections: a busy test would sooner or later hold any port of that range
//! at the wrong moment. A picked port is free when it is picked, is not picked twice by one process, and not likely by two.
//! What remains is another server that takes it first; whoever starts one checks that the answer is its own, and tries
//! again if not ([`crate::regions::Region::start`] does).

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::random::Random;
use crate::trouble::{Because, Trouble};

/// Below it are the ports of well-known servers.
const LOWEST: u16 = 15_000;

/// How many candidates are tried before the kernel is asked for any port.
const CANDIDATES: usize = 200;

/// A free port that this process has not picked before.
pub fn free() -> Result<u16, Trouble> {
    static PICKED: AtomicU64 = AtomicU64::new(0);
    static START: OnceLock<u64> = OnceLock::new();
    let start = *START.get_or_init(|| {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        Random::fork(u64::from(clock), u64::from(std::process::id())).next()
    });
    let range = quiet_range(std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().as_deref());
    for _ in 0..CANDIDATES {
        let port = nth(&range, start, PICKED.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).because("could not bind a loopback port")?;
    Ok(listener.local_addr().because("could not read the port that was bound")?.port())
}

/// The ports below those of outgoing connections; `kernel` is "LOW HIGH". 32768 is the kernel's default.
fn quiet_range(kernel: Option<&str>) -> Range<u16> {
    let low = kernel.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(32_768);
    // Somebody has moved the range down: what is above the lowest is as good as anything.
    if low < LOWEST + 1000 { LOWEST..32_768 } else { LOWEST..low }
}

/// Walks the range in steps of a prime, so that neighbours in time are none in number.
fn nth(range: &Range<u16>, start: u64, n: u64) -> u16 {
    let span = u64::from(range.end - range.start);
    let offset = (start % span + n * 7919) % span;
    range.start + u16::try_from(offset).expect("less than a span of ports")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_free_different_and_below_those_of_outgoing_connections() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 50);
        let range = quiet_range(std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().as_deref());
        assert!(ports.iter().all(|port| range.contains(port)), "{ports:?}");
    }

    #[test]
    fn the_range_follows_the_kernel_and_its_walk_repeats_late() {
        assert_eq!(quiet_range(Some("32768\t60999\n")), 15_000..32_768);
        assert_eq!(quiet_range(Some("20000 60999")), 15_000..20_000);
        assert_eq!(quiet_range(Some("1024 65535")), 15_000..32_768);
        assert_eq!(quiet_range(None), 15_000..32_768);
        let walk: BTreeSet<u16> = (0..5000).map(|n| nth(&(15_000..32_768), 3, n)).collect();
        assert_eq!(walk.len(), 5000);
    }
}
