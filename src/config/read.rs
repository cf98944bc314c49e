//! Reads a configuration whole: every problem of the text in one run, and nothing but the text is looked at.

use std::net::SocketAddr;

use toml::de::DeTable;

use super::keys::{
    APP, APP_RPO, CERT_FILE, CLIENT_CA_FILE, ENDPOINT_URL, INDEX, INDEX_PATH, KEY_FILE, LISTEN, OBJECTIVES, PRIMARY,
    PROFILE, PROMOTE, REGION, ROLE_ARN, RTO, SERVE, STANDBY, STORES, TOKENS_FILE,
};
use super::problem::{Problem, Severity, Sink};
use super::section::Section;
use super::{Checked, Config, MAX_BYTES, Objectives, Region, Serve, Tls, steps, stores};

/// Reads a configuration. `source_name` is what problems call it: the path of the file.
///
/// On success the warnings are with the configuration; otherwise everything found, errors and warnings, in the order of
/// the text.
pub fn read(text: &str, source_name: &str) -> Result<Checked, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(vec![super::files::too_big(source_name)]);
    }
    let sink = Sink::new(source_name, text);
    let (table, broken) = DeTable::parse_recoverable(text);
    let mut only_doubles = true;
    for error in &broken {
        let double = error.message() == "duplicate key";
        only_doubles &= double;
        let (what, hint) = match double {
            true => (
                "this key or table stands twice".to_owned(),
                "keep one; a list of tables is written [[name]]".to_owned(),
            ),
            false => (
                format!("not TOML: {}", error.message()),
                "what follows cannot be judged before this is mended".to_owned(),
            ),
        };
        let line = error.span().map(|span| sink.line(span.start));
        sink.push(Severity::Error, String::new(), what, Some(hint), line, None);
    }
    // What a broken text was meant to say is a guess; guessed problems would bury the real one.
    let config = if only_doubles { root(Section::root(&sink, table.get_ref())) } else { None };
    let problems = sink.into_problems();
    match config {
        Some(config) if problems.iter().all(|p| p.severity == Severity::Warning) => {
            Ok(Checked { config, warnings: problems })
        }
        _ => Err(problems),
    }
}

/// `None` when something is so wrong that there is no value for it; the problems say what.
fn root(mut section: Section<'_>) -> Option<Config> {
    let app = section.text(&APP);
    let primary = region(section.table(&PRIMARY));
    let mut standby_section = section.table(&STANDBY);
    let standby = region_keys(&mut standby_section);
    if let (Some(x), Some(y)) = (&primary, &standby)
        && x.region == y.region
        && super::places::endpoint(x) == super::places::endpoint(y)
    {
        standby_section.problem(
            &REGION,
            "the same region as the primary: a disaster there would take both",
            "name another region (or, in tests, give each an endpoint_url of its own)",
        );
    }
    standby_section.finish();
    let objectives = objectives(section.table(&OBJECTIVES));
    let mut index = section.table(&INDEX);
    let index_path = index.path(&INDEX_PATH);
    index.finish();
    let serve = serve(section.table(&SERVE));
    let store_sections = section.tables(&STORES);
    if store_sections.is_empty() && section.lists(&STORES) {
        section.problem_here("no [[store]]: nothing would be kept warm", STORES.how());
    }
    let stores = stores::read(store_sections, objectives.rpo, primary.as_ref(), standby.as_ref());
    let promote = steps::read(section.table(&PROMOTE));
    section.finish();
    Some(Config {
        app: app?,
        primary: primary?,
        standby: standby?,
        objectives,
        index_path: index_path?,
        serve: serve?,
        stores,
        promote,
    })
}

fn region(mut section: Section<'_>) -> Option<Region> {
    let region = region_keys(&mut section);
    section.finish();
    region
}

fn region_keys(section: &mut Section<'_>) -> Option<Region> {
    let region = section.text(&REGION);
    let role_arn = section.text(&ROLE_ARN);
    let profile = section.text(&PROFILE);
    let endpoint_url = section.text(&ENDPOINT_URL);
    if let Some(name) = &region {
        check_region(section, name);
    }
    if let Some(arn) = &role_arn
        && !(arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":role/"))
    {
        section.problem(&ROLE_ARN, "not the ARN of a role", ROLE_ARN.how());
    }
    if let Some(url) = &endpoint_url {
        check_endpoint(section, url);
    }
    Some(Region { region: region?, role_arn, profile, endpoint_url })
}

fn check_region(section: &mut Section<'_>, name: &str) {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let zone =
        name.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit()));
    if let (true, Some(region)) = (plain, zone) {
        section.problem(&REGION, "an availability zone, not a region", format!("write region = {region:?}"));
    } else if !plain || name.len() > 32 || !name.contains('-') || !name.ends_with(|c: char| c.is_ascii_digit()) {
        section.problem(&REGION, "not the name of a region", REGION.how());
    }
}

fn check_endpoint(section: &mut Section<'_>, url: &str) {
    let parsed = reqwest::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
    let Some(parsed) = parsed else {
        section.problem(&ENDPOINT_URL, "not an http:// or https:// URL", ENDPOINT_URL.how());
        return;
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let hint = "credentials come from the standard AWS chain; take them out of the URL";
        section.problem(&ENDPOINT_URL, "holds a user or a password", hint);
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        section.problem(&ENDPOINT_URL, "holds a query or a fragment", ENDPOINT_URL.how());
    }
    if parsed.scheme() == "http" && !super::places::loopback(&parsed) {
        let hint = "write https://, or leave it out to reach AWS";
        section.problem(&ENDPOINT_URL, "plain http:// is accepted on loopback only", hint);
    }
}

fn objectives(mut section: Section<'_>) -> Objectives {
    let objectives = Objectives { rpo: section.duration(&APP_RPO), rto: section.duration(&RTO) };
    section.finish();
    objectives
}

fn serve(mut section: Section<'_>) -> Option<Serve> {
    let listen = section.text(&LISTEN);
    let tokens_file = section.path(&TOKENS_FILE);
    let cert_file = section.path(&CERT_FILE);
    let key_file = section.path(&KEY_FILE);
    let client_ca_file = section.path(&CLIENT_CA_FILE);
    let listen: Option<SocketAddr> = listen.and_then(|text| {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let hint = match text.strip_prefix("localhost:").or(text.strip_prefix(':')) {
                Some(port) => format!("write listen = \"127.0.0.1:{port}\""),
                None => LISTEN.how(),
            };
            section.problem(&LISTEN, "not an address and a port", hint);
        }
        parsed
    });
    let (has_cert, has_key) = (section.has(&CERT_FILE), section.has(&KEY_FILE));
    if has_cert && !has_key {
        section.problem(&CERT_FILE, "a certificate without its private key", KEY_FILE.how());
    }
    if has_key && !has_cert {
        section.problem(&KEY_FILE, "a private key without its certificate", CERT_FILE.how());
    }
    if section.has(&CLIENT_CA_FILE) && !has_cert && !has_key {
        section.problem(&CLIENT_CA_FILE, "client certificates need TLS", "give cert_file and key_file too");
    }
    if !section.has(&TOKENS_FILE) && listen.is_none_or(|address| address.ip().is_loopback()) {
        let hint = format!("{} and make a token with `plimsoll token new`", TOKENS_FILE.how());
        section.warn(&TOKENS_FILE, "missing, so nobody may call: status and promote will be refused", hint);
    }
    if listen.is_some_and(|address| !address.ip().is_loopback()) {
        if !section.has(&TOKENS_FILE) {
            let hint = format!("{}, or listen on 127.0.0.1", TOKENS_FILE.how());
            section.problem(&LISTEN, "reachable from other machines, and no tokens_file says who may call", hint);
        }
        if !has_cert && !has_key {
            let hint = "give cert_file and key_file, or listen on 127.0.0.1 (behind a proxy that ends TLS)";
            section.problem(
                &LISTEN,
                "reachable from other machines, and tokens would cross the network in the clear",
                hint,
            );
        }
    }
    section.finish();
    let tls = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Some(Tls { cert_file, key_file, client_ca_file }),
        _ => None,
    };
    Some(Serve { listen: listen?, tokens_file, tls })
}
