//! What a region says about its replica of a global table, and whether prodX and prodY are a pair that can be observed. Pure.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    BillingMode, KeyType, MultiRegionConsistency, ReplicaDescription, ScalarAttributeType, TableDescription,
};

/// The version that can be observed.
const CURRENT: &str = "2019.11.21";

/// A key attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPart {
    pub(super) name: String,
    /// `None`: the description does not say, or says something that is no type of a key.
    pub(super) kind: Option<ScalarAttributeType>,
}

/// One region's own description of its replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Tells this copy from another of the same name.
    pub(super) identity: String,
    /// `ACTIVE`.
    pub(super) status: String,
    pub(super) version: Option<String>,
    /// Multi-Region strong consistency (MRSC).
    pub(super) strong: bool,
    /// The replicas that it lists, with their status; its own may be among them or not.
    pub(super) replicas: BTreeMap<String, String>,
    /// Region and status of the witness of an MRSC table.
    pub(super) witness: Option<(String, String)>,
    /// Partition key first.
    pub(super) keys: Vec<KeyPart>,
    pub(super) on_demand: bool,
    pub(super) deletion_protection: bool,
    pub(super) settings_replication: Option<String>,
}

impl Member {
    pub(super) fn of(table: &TableDescription) -> Self {
        let created =
            || table.creation_date_time().map_or_else(String::new, |at| format!("created-{}", at.as_secs_f64()));
        let replica = |r: &ReplicaDescription| {
            let status = r.replica_status().map_or("without a status", |s| s.as_str());
            Some((r.region_name()?.to_owned(), status.to_owned()))
        };
        let witness = table.global_table_witnesses().first().map(|w| {
            let status = w.witness_status().map_or("without a status", |s| s.as_str());
            (w.region_name().unwrap_or("an unnamed region").to_owned(), status.to_owned())
        });
        let kind = |name: &str| {
            let of = table.attribute_definitions().iter().find(|a| a.attribute_name() == name);
            of.map(|a| a.attribute_type().clone())
        };
        let mut schema: Vec<_> = table.key_schema().iter().collect();
        schema.sort_by_key(|element| *element.key_type() != KeyType::Hash);
        let keys =
            schema.iter().map(|e| KeyPart { name: e.attribute_name().to_owned(), kind: kind(e.attribute_name()) });
        Self {
            identity: table.table_id().map_or_else(created, str::to_owned),
            status: table.table_status().map_or("without a status", |s| s.as_str()).to_owned(),
            version: table.global_table_version().map(str::to_owned),
            strong: table.multi_region_consistency() == Some(&MultiRegionConsistency::Strong),
            replicas: table.replicas().iter().filter_map(replica).collect(),
            witness,
            keys: keys.collect(),
            on_demand: table.billing_mode_summary().and_then(|b| b.billing_mode()) == Some(&BillingMode::PayPerRequest),
            deletion_protection: table.deletion_protection_enabled().unwrap_or(false),
            settings_replication: table.global_table_settings_replication_mode().map(|m| m.as_str().to_owned()),
        }
    }
}

/// prodX and prodY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// The region of prodX, and what it said; `None`: it did not answer.
    pub(super) x: (String, Option<Member>),
    /// The region of prodY, and what it said.
    pub(super) y: (String, Member),
}

impl Pair {
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.x.1.iter().chain(std::iter::once(&self.y.1))
    }

    /// Multi-Region strong consistency.
    pub(super) fn strong(&self) -> bool {
        self.members().any(|member| member.strong)
    }

    /// The status of a region's replica, as anybody lists it.
    fn listed(&self, region: &str) -> Option<&str> {
        self.members().find_map(|member| member.replicas.get(region)).map(String::as_str)
    }

    /// Why this can never be observed, and what to do; `None`: it can.
    pub(super) fn refusal(&self) -> Option<(String, String)> {
        let (x, y) = (&self.x.0, &self.y.0);
        let version = self.members().find_map(|member| member.version.as_deref());
        if let Some(version) = version.filter(|version| *version != CURRENT) {
            return Some((
                format!(
                    "the table is a global table of version {version}, whose replicas are not told apart from tables"
                ),
                format!("upgrade it to version {CURRENT}"),
            ));
        }
        if self.members().all(|member| member.replicas.is_empty()) && version.is_none() {
            return Some((
                "the table is not a global table, so nobody replicates it".into(),
                format!(
                    "write mode = \"replicate\" for this store, under a new id, or make it a global table with a replica in {y}"
                ),
            ));
        }
        if self.listed(x).is_none() && self.listed(y).is_none() {
            return Some((
                format!("the table is a global table, and {x} and {y} are not both in it"),
                format!("add a replica in {y}, or write the regions that it has"),
            ));
        }
        None
    }

    /// What keeps it from being proved now; `None`: all are active.
    pub(super) fn inactive(&self) -> Option<String> {
        let strong = self.strong();
        // A replica whose settings are being changed goes on replicating; of strong consistency nothing is said then.
        let good = |status: &str| status == "ACTIVE" || (!strong && status == "UPDATING");
        let mut says = Vec::new();
        if !matches!(self.y.1.status.as_str(), "ACTIVE" | "UPDATING") {
            says.push(format!("the table in {} is {}", self.y.0, self.y.1.status));
        }
        for region in [&self.x.0, &self.y.0] {
            if let Some(status) = self.listed(region).filter(|status| !good(status)) {
                says.push(format!("the replica in {region} is {status}"));
            }
        }
        if strong {
            if let Some((region, status)) =
                self.members().find_map(|m| m.witness.as_ref()).filter(|(_, s)| s != "ACTIVE")
            {
                says.push(format!("the witness in {region} is {status}"));
            }
            let mut regions: Vec<&String> = self.members().flat_map(|member| member.replicas.keys()).collect();
            regions.extend([&self.x.0, &self.y.0]);
            regions.sort();
            regions.dedup();
            let witness = usize::from(self.members().any(|member| member.witness.is_some()));
            if regions.len() + witness < 3 {
                says.push("strong consistency needs three replicas, or two and a witness".into());
            }
        }
        (!says.is_empty()).then(|| says.join("; "))
    }

    /// What it is and how it is set, for a human.
    pub(super) fn about(&self) -> String {
        let y = &self.y.1;
        let consistency = if self.strong() { "MRSC, strong consistency" } else { "MREC, eventual consistency" };
        let version = self.members().find_map(|member| member.version.as_deref()).unwrap_or(CURRENT);
        let status = |region: &str, own: Option<&Member>| {
            let own = own.map(|member| member.status.as_str());
            self.listed(region).or(own).unwrap_or("not answering").to_owned()
        };
        let mut text = format!(
            "global table {version} ({consistency}), {} {}, {} {}",
            self.x.0,
            status(&self.x.0, self.x.1.as_ref()),
            self.y.0,
            status(&self.y.0, Some(y))
        );
        if let Some((region, status)) = self.members().find_map(|member| member.witness.as_ref()) {
            text += &format!(", witness {region} {status}");
        }
        text += if y.on_demand { "; prodY: on demand" } else { "; prodY: provisioned capacity" };
        text += if y.deletion_protection { ", deletion protection on" } else { ", deletion protection off" };
        if let Some(mode) = &y.settings_replication {
            text += &format!(", settings replication {mode}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(replicas: &[(&str, &str)]) -> Member {
        Member {
            identity: "id".into(),
            status: "ACTIVE".into(),
            version: Some(CURRENT.into()),
            strong: false,
            replicas: replicas.iter().map(|(region, status)| ((*region).to_owned(), (*status).to_owned())).collect(),
            witness: None,
            keys: Vec::new(),
            on_demand: true,
            deletion_protection: false,
            settings_replication: None,
        }
    }

    fn pair(x: Option<Member>, y: Member) -> Pair {
        Pair { x: ("x".into(), x), y: ("y".into(), y) }
    }

    #[test]
    fn a_pair_is_told_from_what_can_never_be_one() {
        let good = [
            pair(Some(member(&[("y", "ACTIVE")])), member(&[("x", "ACTIVE")])),
            // prodX does not answer; a description that lists its own region; one that lists others only.
            pair(None, member(&[("x", "ACTIVE")])),
            pair(Some(member(&[("x", "ACTIVE"), ("y", "ACTIVE")])), member(&[])),
        ];
        for pair in good {
            assert_eq!((pair.refusal(), pair.inactive()), (None, None), "{pair:?}");
        }
        let plain = || Member { version: None, ..member(&[]) };
        let says = |pair: Pair| pair.refusal().map(|(what, hint)| format!("{what}; {hint}")).unwrap_or_default();
        assert!(says(pair(Some(plain()), plain())).contains("not a global table"));
        assert!(says(pair(Some(plain()), plain())).contains("mode = \"replicate\""));
        let legacy = Member { version: Some("2017.11.29".into()), ..member(&[]) };
        assert!(says(pair(Some(legacy), member(&[]))).contains("upgrade it to version 2019.11.21"));
        assert!(says(pair(Some(member(&[("z", "ACTIVE")])), plain())).contains("not both in it"));
    }

    #[test]
    fn who_is_not_active_proves_nothing() {
        let with = |status: &str| pair(Some(member(&[("y", status)])), member(&[("x", "ACTIVE")])).inactive();
        assert_eq!(with("UPDATING"), None, "it goes on replicating");
        for status in ["CREATING", "INACCESSIBLE_ENCRYPTION_CREDENTIALS", "REGION_DISABLED", "a new word"] {
            assert!(with(status).is_some_and(|said| said.contains(status)), "{status}");
        }
        let creating = Member { status: "CREATING".into(), ..member(&[("x", "ACTIVE")]) };
        assert!(pair(None, creating).inactive().is_some());
    }

    #[test]
    fn strong_consistency_needs_three_that_are_active() {
        let strong = |replicas: &[(&str, &str)], witness: Option<&str>| {
            let witness = witness.map(|status| ("w".to_owned(), status.to_owned()));
            pair(None, Member { strong: true, witness, ..member(replicas) }).inactive()
        };
        assert_eq!(strong(&[("x", "ACTIVE"), ("z", "ACTIVE")], None), None);
        assert_eq!(strong(&[("x", "ACTIVE")], Some("ACTIVE")), None);
        assert!(strong(&[("x", "ACTIVE")], None).is_some_and(|said| said.contains("three replicas")));
        assert!(strong(&[("x", "ACTIVE")], Some("CREATING")).is_some_and(|said| said.contains("witness")));
        assert!(strong(&[("x", "UPDATING")], Some("ACTIVE")).is_some(), "nothing is said of it while it changes");
    }
}
