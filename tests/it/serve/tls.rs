//! TLS: what a right certificate opens, what a wrong, expired or foreign one does not, and what wrong files are told.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll::config::Tls;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use reqwest::{Certificate, Identity};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::fixture::{Server, VIEWER, drain, short};
use crate::client::{err, finish, program};

/// A certificate authority of a test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, valid until the end of `until`.
    fn issue(&self, usage: ExtendedKeyUsagePurpose, until: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.extended_key_usages.push(usage);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
    fn tls(&self, (cert, key): &(String, String), client_ca: Option<&str>) -> Tls {
        Tls {
            cert_file: self.put("cert.pem", cert),
            key_file: self.put("key.pem", key),
            client_ca_file: client_ca.map(|pem| self.put("ca.pem", pem)),
        }
    }
}

async fn ask(server: &Server, trust: &Authority, identity: Option<&(String, String)>) -> Result<u16, reqwest::Error> {
    let root = Certificate::from_pem(trust.pem.as_bytes()).unwrap();
    let mut client = reqwest::Client::builder().tls_certs_only([root]).timeout(Duration::from_secs(10));
    if let Some((cert, key)) = identity {
        client = client.identity(Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap());
    }
    let url = format!("https://{}/healthz", server.address);
    Ok(client.build().unwrap().get(url).send().await?.status().as_u16())
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_and_another_is_not() {
    let (ours, theirs, files) = (Authority::new("ours"), Authority::new("theirs"), Files::new());
    let pair = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let server = Server::with(short(), Some(files.tls(&pair, None)), true).await;
    assert_eq!(ask(&server, &ours, None).await.unwrap(), 200);
    assert!(ask(&server, &theirs, None).await.is_err());
    assert_eq!(ask(&server, &ours, None).await.unwrap(), 200, "a failed handshake leaves the listener alone");
}

#[tokio::test]
async fn plain_http_and_silence_do_not_kill_the_tls_port() {
    let (ours, files) = (Authority::new("ours"), Files::new());
    let pair = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let server = Server::with(short(), Some(files.tls(&pair, None)), true).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    let answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!answer.contains("200"), "nothing is answered without TLS: {answer}");
    drain(&mut silent).await;
    drain(&mut half).await;
    assert_eq!(ask(&server, &ours, None).await.unwrap(), 200);
}

#[tokio::test]
async fn client_certificates_are_required_when_an_authority_is_given() {
    let (ours, theirs, files) = (Authority::new("ours"), Authority::new("theirs"), Files::new());
    let pair = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let server = Server::with(short(), Some(files.tls(&pair, Some(&ours.pem))), true).await;
    let good = ours.issue(ExtendedKeyUsagePurpose::ClientAuth, 2099);
    let expired = ours.issue(ExtendedKeyUsagePurpose::ClientAuth, 2021);
    let foreign = theirs.issue(ExtendedKeyUsagePurpose::ClientAuth, 2099);
    let wrong_use = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    assert_eq!(ask(&server, &ours, Some(&good)).await.unwrap(), 200);
    assert!(ask(&server, &ours, None).await.is_err(), "no certificate");
    for (what, identity) in [("expired", &expired), ("foreign", &foreign), ("a server's", &wrong_use)] {
        assert!(ask(&server, &ours, Some(identity)).await.is_err(), "{what}");
    }
    assert_eq!(ask(&server, &ours, Some(&good)).await.unwrap(), 200);
}

/// Each problem of the files is a sentence that names the file.
#[test]
fn wrong_files_are_told_at_the_start() {
    let (ours, files) = (Authority::new("ours"), Files::new());
    let pair = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let other = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let why = |tls: &Tls| plimsoll::serve::tls::open(tls).unwrap_err();
    let good = files.tls(&pair, None);
    assert!(plimsoll::serve::tls::open(&good).is_ok());

    let missing = Tls { cert_file: Path::new("/nonexistent/cert.pem").into(), ..good.clone() };
    assert!(why(&missing).starts_with("certificate file /nonexistent/cert.pem: "), "{}", why(&missing));
    let empty = Tls { cert_file: files.put("empty.pem", ""), ..good.clone() };
    assert!(why(&empty).contains("holds no certificate in PEM"), "{}", why(&empty));
    let garbled = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let garbled = Tls { cert_file: files.put("garbled.pem", garbled), ..good.clone() };
    assert!(why(&garbled).contains("garbled.pem"), "{}", why(&garbled));
    let mismatch = Tls { key_file: files.put("other.pem", &other.1), ..good.clone() };
    assert!(why(&mismatch).contains("does not belong to the certificate"), "{}", why(&mismatch));
    let no_key = Tls { key_file: files.put("cert-as-key.pem", &pair.0), ..good.clone() };
    assert!(why(&no_key).contains("holds no private key"), "{}", why(&no_key));
    let no_ca = Tls { client_ca_file: Some(files.put("not-a-ca.pem", "hello")), ..good.clone() };
    assert!(why(&no_ca).contains("not-a-ca.pem"), "{}", why(&no_ca));
    std::fs::set_permissions(&good.key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(why(&good).contains("chmod 600"), "{}", why(&good));
}

/// The command line over TLS: with the authority and a certificate of its own, and the sentences without them.
#[tokio::test]
async fn the_command_line_speaks_tls() {
    let (ours, files) = (Authority::new("ours"), Files::new());
    let pair = ours.issue(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    let server = Server::with(short(), Some(files.tls(&pair, Some(&ours.pem))), true).await;
    let own = ours.issue(ExtendedKeyUsagePurpose::ClientAuth, 2099);
    let (ca, own) = (files.put("trust.pem", &ours.pem), files.put("own.pem", &format!("{}{}", own.0, own.1)));
    let token = files.put("token", VIEWER);
    let command = || {
        let mut command = program(&format!("https://{}", server.address));
        command.args(["status", "--token-file"]).arg(&token);
        command
    };
    let mut full = command();
    full.arg("--ca-file").arg(&ca).arg("--client-cert-file").arg(&own);
    let full = finish(full).await;
    assert!(full.status.success(), "{}", err(&full));
    let mut distrusting = command();
    distrusting.arg("--client-cert-file").arg(&own);
    let said = err(&finish(distrusting).await);
    assert!(said.contains("is not trusted") && said.contains("--ca-file"), "{said}");
    let mut unknown = command();
    unknown.arg("--ca-file").arg(&ca);
    let unknown = finish(unknown).await;
    assert_eq!(unknown.status.code(), Some(1));
    let said = err(&unknown);
    assert!(said.contains("--client-cert-file"), "{said}");
}
