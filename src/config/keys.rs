//! Every key outside the kinds of store, with its default and its documentation.

use super::key::{Key, Takes};

const LONG: Takes = Takes::Duration { min: "1s", max: "30d" };

pub(super) const APP: Key =
    Key::required("app", Takes::Text, "\"shop\"", "The application's name, as it stands in reports.");

pub(super) const REGION: Key = Key::required("region", Takes::Text, "\"us-east-1\"", "The AWS region.");
pub(super) const ROLE_ARN: Key = Key::optional(
    "role_arn",
    Takes::Text,
    "\"arn:aws:iam::111122223333:role/plimsoll\"",
    "A role to assume for every call to this region.",
);
pub(super) const PROFILE: Key = Key::optional(
    "profile",
    Takes::Text,
    "\"shop\"",
    "A profile of the shared AWS configuration; the standard credential chain otherwise.",
);
pub(super) const ENDPOINT_URL: Key = Key::optional(
    "endpoint_url",
    Takes::Text,
    "\"http://127.0.0.1:4566\"",
    "Another endpoint for every service of the region, for tests. http:// is accepted on loopback only.",
);
pub(super) const REGION_KEYS: &[Key] = &[REGION, ROLE_ARN, PROFILE, ENDPOINT_URL];

pub(super) const APP_RPO: Key = Key::default(
    "rpo",
    LONG,
    "\"60s\"",
    "How much may be lost, as time before the disaster. Holds for each store that states no other.",
);
pub(super) const RTO: Key = Key::default("rto", LONG, "\"15m\"", "How long the recovery may take.");
const OBJECTIVES_KEYS: &[Key] = &[APP_RPO, RTO];

pub(super) const INDEX_PATH: Key = Key::default(
    "path",
    Takes::Path,
    "\"/var/lib/plimsoll\"",
    "The folder of the watermark index and the promotion journal. One process at a time; on a local disk.",
);
const INDEX_KEYS: &[Key] = &[INDEX_PATH];

pub(super) const LISTEN: Key = Key::default(
    "listen",
    Takes::Text,
    "\"127.0.0.1:9187\"",
    "Where metrics, API and console are served. Off loopback, tokens_file, cert_file and key_file are needed too.",
);
pub(super) const TOKENS_FILE: Key = Key::optional(
    "tokens_file",
    Takes::Path,
    "\"/etc/plimsoll/tokens\"",
    "Who may call: a line per token, NAME ROLE SHA256-HEX, made by `plimsoll token new`. Not readable by others (mode 0600). \
     Without it only /metrics, /healthz and /readyz answer.",
);
pub(super) const CERT_FILE: Key = Key::optional(
    "cert_file",
    Takes::Path,
    "\"/etc/plimsoll/tls/cert.pem\"",
    "TLS: the certificate chain, PEM. Plain HTTP without.",
);
pub(super) const KEY_FILE: Key = Key::optional(
    "key_file",
    Takes::Path,
    "\"/etc/plimsoll/tls/key.pem\"",
    "TLS: the private key, PEM. Not readable by others (mode 0600).",
);
pub(super) const CLIENT_CA_FILE: Key = Key::optional(
    "client_ca_file",
    Takes::Path,
    "\"/etc/plimsoll/tls/clients.pem\"",
    "TLS: clients must show a certificate of this authority, PEM.",
);
const SERVE_KEYS: &[Key] = &[LISTEN, TOKENS_FILE, CERT_FILE, KEY_FILE, CLIENT_CA_FILE];

pub(super) const STORE_ID: Key = Key::required(
    "id",
    Takes::Text,
    "\"orders\"",
    "The operator's name for it: 1 to 63 of a-z, 0-9, '-' and '_'. Never reuse one for another store.",
);
pub(super) const STORE_KIND: Key =
    Key::required("kind", Takes::Text, "\"dynamodb\"", "What it is; each kind has keys of its own.");
pub(super) const STORE_MODE: Key = Key::required(
    "mode",
    Takes::OneOf(&["replicate", "observe"]),
    "\"replicate\"",
    "replicate: Plimsoll moves the bytes. observe: AWS moves them, Plimsoll measures and promotes.",
);
pub(super) const STORE_RPO: Key =
    Key::optional("rpo", LONG, "\"30s\"", "How much of it may be lost; objectives.rpo otherwise.");
pub(super) const STORE_KEYS: &[Key] = &[STORE_ID, STORE_KIND, STORE_MODE, STORE_RPO];

pub(super) const CATCH_UP: Key = Key::default(
    "catch_up",
    Takes::Duration { min: "0s", max: "1h" },
    "\"30s\"",
    "How long a promotion first catches up with what is fetched or reachable, at most.",
);
pub(super) const STEP_ID: Key = Key::required(
    "id",
    Takes::Text,
    "\"traffic-switch\"",
    "Its name in the journal: 1 to 63 of a-z, 0-9, '-' and '_'. Never reuse one for another step.",
);
pub(super) const STEP_KIND: Key = Key::required(
    "kind",
    Takes::OneOf(&["command", "http-probe"]),
    "\"command\"",
    "command: runs a program. http-probe: waits until a URL answers as expected.",
);
pub(super) const STEP_NEEDS: Key =
    Key::default("needs", Takes::Texts, "[]", "Ids of steps that must be done before this one.");
pub(super) const STEP_REQUIRED: Key = Key::default(
    "required",
    Takes::Flag,
    "true",
    "true: its failure holds the promotion for a human. false: it is noted and the promotion goes on.",
);
pub(super) const STEP_DEADLINE: Key =
    Key::default("deadline", Takes::Duration { min: "1s", max: "1d" }, "\"60s\"", "From its first attempt to its end.");
pub(super) const COMMAND_RUN: Key = Key::required(
    "run",
    Takes::Texts,
    "[\"/usr/local/bin/switch\", \"y\"]",
    "kind command: the program and its arguments. No shell is added.",
);
pub(super) const COMMAND_CHECK: Key = Key::optional(
    "check",
    Takes::Texts,
    "[\"/usr/local/bin/switch\", \"--is\", \"y\"]",
    "kind command: asks whether it is done. Exit 0: done; 1: not started; anything else: an error. It, or repeat, must be given.",
);
pub(super) const COMMAND_REPEAT: Key = Key::optional(
    "repeat",
    Takes::OneOf(&["safe", "never"]),
    "\"safe\"",
    "kind command, instead of check: what an unknown outcome means. safe: run it again. never: hold for a human.",
);
pub(super) const PROBE_URL: Key = Key::required(
    "url",
    Takes::Text,
    "\"https://y.example.com/health\"",
    "kind http-probe: GET this until it answers as expected. Redirects are not followed.",
);
pub(super) const PROBE_STATUS: Key = Key::default(
    "expect_status",
    Takes::Integer { min: 100, max: 599 },
    "200",
    "kind http-probe: the status that counts as done.",
);
/// The keys of every step, before those of its kind.
pub(super) const STEP_KEYS: &[Key] = &[STEP_ID, STEP_KIND, STEP_NEEDS, STEP_REQUIRED, STEP_DEADLINE];
/// The keys of a `command` step.
pub(super) const COMMAND_KEYS: &[Key] = &[COMMAND_RUN, COMMAND_CHECK, COMMAND_REPEAT];
/// The keys of an `http-probe` step.
pub(super) const PROBE_KEYS: &[Key] = &[PROBE_URL, PROBE_STATUS];
pub(super) const STEPS: Key = Key::tables("step", STEP_KEYS, "Your own steps, run after the stores are promoted.");
const PROMOTE_KEYS: &[Key] = &[CATCH_UP, STEPS];

pub(super) const PRIMARY: Key = Key::table("primary", REGION_KEYS, "prodX: the region that serves the traffic.");
pub(super) const STANDBY: Key =
    Key::table("standby", REGION_KEYS, "prodY: the region that is kept warm; Plimsoll runs here.");
pub(super) const OBJECTIVES: Key =
    Key::table("objectives", OBJECTIVES_KEYS, "What is promised for the whole application.");
pub(super) const INDEX: Key = Key::table("index", INDEX_KEYS, "Where Plimsoll remembers.");
pub(super) const SERVE: Key = Key::table("serve", SERVE_KEYS, "The listener.");
pub(super) const STORES: Key = Key::tables("store", STORE_KEYS, "What is kept warm: once for each store.");
pub(super) const PROMOTE: Key = Key::table("promote", PROMOTE_KEYS, "The recovery.");

/// The file as a whole, in the order of the document.
pub(super) const ROOT: &[Key] = &[APP, PRIMARY, STANDBY, OBJECTIVES, INDEX, SERVE, STORES, PROMOTE];
