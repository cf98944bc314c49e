//! Free TCP ports on the loopback interface.
//!
//! A port is free at the moment it is picked; another process may take it before its user binds it. Whoever starts a
//! server on a picked port must therefore check that the server that answers is its own, and try again if not
//! ([`crate::regions::Region::start`] does).

use std::net::{Ipv4Addr, TcpListener};

use crate::trouble::{Because, Trouble};

/// Asks the kernel for a free port.
pub fn free() -> Result<u16, Trouble> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).because("could not bind a loopback port")?;
    Ok(listener.local_addr().because("could not read the port that was bound")?.port())
}

/// Asks for `count` free ports that differ from each other: all are held until the last one is known.
pub fn free_many(count: usize) -> Result<Vec<u16>, Trouble> {
    let mut held = Vec::with_capacity(count);
    let mut ports = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).because("could not bind a loopback port")?;
        ports.push(listener.local_addr().because("could not read the port that was bound")?.port());
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn many_ports_are_all_different() {
        let ports = free_many(20).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(!ports.contains(&0));
    }
}
