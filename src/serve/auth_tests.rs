//! Tokens: the file, its permissions, its changes, and what a caller without the right one is told.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn line(name: &str, role: &str, token: &str) -> String {
    let hash: String = Sha256::digest(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    format!("{name} {role} {hash}\n")
}

fn write(path: &Path, text: &str, mode: u32) {
    // Another inode each time, as an editor would: the change is seen whatever the clock's granularity.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_role_includes_the_lower_ones_and_the_refusal_names_the_role_needed() {
    let dir = dir();
    let path = dir.path().join("tokens");
    write(&path, &format!("# on call\n{}{}", line("ann", "approver", "aaa"), line("vic", "viewer", "vvv")), 0o600);
    let tokens = Tokens::open(&path).unwrap();
    assert_eq!(tokens.authorize(&headers("Bearer aaa"), Role::Viewer).unwrap().principal().name, "ann");
    assert!(tokens.authorize(&headers("bearer vvv"), Role::Viewer).is_ok());
    let no = tokens.authorize(&headers("Bearer vvv"), Role::Approver).unwrap_err();
    assert_eq!(no.status, StatusCode::FORBIDDEN);
    assert!(no.detail.contains("needs the role approver"), "{}", no.detail);
    for bad in ["Bearer nope", "Basic aaa", "aaa", "Bearer "] {
        assert_eq!(
            tokens.authorize(&headers(bad), Role::Viewer).unwrap_err().status,
            StatusCode::UNAUTHORIZED,
            "{bad}"
        );
    }
    assert_eq!(tokens.authorize(&HeaderMap::new(), Role::Viewer).unwrap_err().status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_changed_file_is_read_again_and_a_bad_one_is_not_put_in_force() {
    let dir = dir();
    let path = dir.path().join("tokens");
    write(&path, &line("ann", "approver", "aaa"), 0o600);
    let tokens = Tokens::open(&path).unwrap();
    write(&path, &line("bob", "operator", "bbb"), 0o600);
    assert!(tokens.authorize(&headers("Bearer aaa"), Role::Viewer).is_err());
    assert!(tokens.authorize(&headers("Bearer bbb"), Role::Operator).is_ok());
    write(&path, "bob operator zzz\n", 0o600);
    assert!(tokens.authorize(&headers("Bearer bbb"), Role::Operator).is_ok(), "the last good one stays in force");
    assert!(tokens.trouble().unwrap().contains("line 1: the hash"));
    write(&path, &line("eve", "approver", "eee"), 0o644);
    assert!(tokens.authorize(&headers("Bearer eee"), Role::Viewer).is_err());
    std::fs::remove_file(&path).unwrap();
    let gone = tokens.authorize(&headers("Bearer bbb"), Role::Viewer).expect_err("a file that is gone means nobody");
    assert!(gone.hint.as_deref().is_some_and(|hint| hint.contains("/readyz")), "{:?}", gone.hint);
    assert!(tokens.trouble().is_some());
    write(&path, &line("bob", "operator", "bbb"), 0o600);
    assert!(tokens.authorize(&headers("Bearer bbb"), Role::Viewer).is_ok());
    assert_eq!(tokens.trouble(), None);
}

#[test]
fn loose_permissions_and_wrong_lines_are_refused_at_the_start() {
    let dir = dir();
    let path = dir.path().join("tokens");
    for (mode, fits) in [(0o600, true), (0o400, true), (0o644, false), (0o604, false), (0o660, false), (0o666, false)] {
        write(&path, &line("ann", "approver", "aaa"), mode);
        assert_eq!(Tokens::open(&path).is_ok(), fits, "{mode:o}");
    }
    let twice = line("ann", "viewer", "a") + &line("ann", "viewer", "b");
    for (text, part) in [
        ("ann approver\n", "line 1: it does not have three fields"),
        ("\nann root 00\n", "line 2: the role"),
        (twice.as_str(), "line 2: the name ann is used twice"),
    ] {
        write(&path, text, 0o600);
        let why = Tokens::open(&path).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
    assert!(Tokens::open(&dir.path().join("none")).unwrap_err().contains("plimsoll token new"));
}

#[test]
fn without_a_file_nobody_and_a_hint() {
    let no = Tokens::none().authorize(&headers("Bearer x"), Role::Viewer).unwrap_err();
    assert_eq!(no.status, StatusCode::UNAUTHORIZED);
    assert!(no.hint.unwrap().contains("plimsoll token new"));
}
