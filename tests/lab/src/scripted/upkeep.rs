//! What a test does to the settings of a table, past all rules.

use super::ScriptedAws;
use super::model::schema::{Key, TableSpec};
use super::model::settings::Settings;
use super::model::value::Value;
use std::sync::Arc;

impl ScriptedAws {
    /// The TableId of a table: another one when it is made again.
    #[track_caller]
    pub fn table_id(&self, table: &str) -> String {
        self.cell(table).lock().id.clone()
    }

    /// The settings of a table.
    #[track_caller]
    pub fn settings(&self, table: &str) -> Settings {
        self.cell(table).lock().control.settings.clone()
    }

    /// Changes the settings of a table at once and without the rules of the calls: drift, as a test wants it.
    #[track_caller]
    pub fn change_settings(&self, table: &str, change: impl FnOnce(&mut Settings)) {
        change(&mut self.cell(table).lock().control.settings);
    }

    /// Changes the schema of a table: its indexes, or of an empty table its keys too. Its stream is changed by
    /// [`Self::disable_stream`] and [`Self::enable_stream`].
    #[track_caller]
    pub fn change_schema(&self, table: &str, change: impl FnOnce(&mut TableSpec)) {
        let cell = self.cell(table);
        let mut table = cell.lock();
        let mut spec = table.spec.clone();
        change(&mut spec);
        let keys = (&spec.hash, &spec.range) == (&table.spec.hash, &table.spec.range);
        assert!(keys || table.len() == 0, "the keys of a table that holds items cannot change");
        assert!(spec.name == table.spec.name && spec.stream == table.spec.stream, "neither the name nor the stream");
        table.spec = spec;
    }

    /// Lets the hour after a change of TTL, in which another one is refused, be over.
    #[track_caller]
    pub fn end_ttl_rest(&self, table: &str) {
        self.cell(table).lock().control.end_ttl_rest();
    }

    /// Does what TTL does some time after items expired: deletes those whose attribute names a second before now, if TTL
    /// is on. How many.
    #[track_caller]
    pub fn expire_due(&self, table: &str) -> usize {
        let now = self.now();
        let cell = self.cell(table);
        let mut table = cell.lock();
        let Some(attribute) = table.control.settings.ttl.clone() else { return 0 };
        let second = super::clock::epoch_seconds(now);
        let due = |value: Option<&Value>| match value {
            Some(Value::N(numeral)) => numeral.parse::<u64>().is_ok_and(|at| at < second),
            _ => false,
        };
        let entries = table.entries();
        let expired = entries.into_iter().filter(|(_, item)| due(item.item().get(&attribute)));
        let keys: Vec<Arc<Key>> = expired.map(|((_, key), _)| key).collect();
        for key in &keys {
            table.delete(Key::clone(key), now, true);
        }
        keys.len()
    }
}
