//! What a test does to the contents and the capacity of a table: loads many items at once, limits, makes reads stale,
//! and stops a scan.

use super::ScriptedAws;
use super::gate::Gate;
use super::model::meter::{CapacityLimit, Consumed};
use super::model::quirks::ReadQuirks;
use super::model::value::{Item, Value};
use super::region::Fault;
use super::scans::{Hand, ScanPage};
use super::{FaultId, FaultRule};

/// How many items are loaded before others may have the table.
const LOADED_AT_ONCE: usize = 1000;

/// An item of a table whose partition key is the string `pk`: key `k` and eight digits, number `v`, and so much filling
/// that it has about `bytes` bytes.
pub fn numbered_item(number: u64, v: u64, bytes: usize) -> Item {
    let filling = bytes.saturating_sub(24);
    let mut item = Item::from([("pk".to_owned(), Value::S(numbered_key(number))), ("v".to_owned(), Value::n(v))]);
    if filling > 0 {
        item.insert("fill".to_owned(), Value::S(char::from(b'a' + (number % 26) as u8).to_string().repeat(filling)));
    }
    item
}

/// The partition key of [`numbered_item`].
pub fn numbered_key(number: u64) -> String {
    format!("k{number:08}")
}

impl ScriptedAws {
    /// Stores items as if they had always been there: they are in no log, no stream and no counter, and cost no
    /// capacity. A million of some 100 bytes take a few seconds. How many were stored.
    #[track_caller]
    pub fn load(&self, table: &str, items: impl IntoIterator<Item = Item>) -> usize {
        let cell = self.cell(table);
        let mut items = items.into_iter();
        let mut loaded = 0;
        loop {
            // Made before the lock is taken: making them is the longer part.
            let some: Vec<Item> = items.by_ref().take(LOADED_AT_ONCE).collect();
            if some.is_empty() {
                return loaded;
            }
            loaded += some.len();
            let mut table = cell.lock();
            for item in some {
                if let Err(error) = table.load(item) {
                    panic!("an item that cannot be loaded: {error}");
                }
            }
        }
    }

    /// Limits what a table's reads and writes over HTTP may use, or ends the limit.
    #[track_caller]
    pub fn limit_capacity(&self, table: &str, limit: Option<CapacityLimit>) {
        self.cell(table).lock().meter.set_limit(limit, self.region.now());
    }

    /// What a table's calls over HTTP have used and how many were throttled by its limit.
    #[track_caller]
    pub fn consumed(&self, table: &str) -> Consumed {
        self.cell(table).lock().meter.used()
    }

    /// Changes how awkward the reads of a table are.
    #[track_caller]
    pub fn read_quirks(&self, table: &str, change: impl FnOnce(&mut ReadQuirks)) {
        change(&mut self.cell(table).lock().read_quirks);
    }

    /// Runs `hook` after each page of a Scan of this table was read and before it is answered. It replaces an earlier one.
    #[track_caller]
    pub fn after_scan_page(&self, table: &str, hook: impl FnMut(&ScanPage, &Hand<'_>) + Send + 'static) {
        drop(self.cell(table));
        self.region.scans.set(table, Some(Box::new(hook)));
    }

    /// Takes the hook of a table away.
    pub fn clear_scan_hook(&self, table: &str) {
        self.region.scans.set(table, None);
    }

    /// Stops scans of a table before their next page, after `pages` more of all segments together were answered. The
    /// fault is removed by the caller; the gate lets pages go on, and they are read when they do.
    #[track_caller]
    pub fn hold_scan(&self, table: &str, pages: u64) -> (Gate, FaultId) {
        drop(self.cell(table));
        let gate = Gate::new();
        let id = self.fault(FaultRule::on("Scan").table(table).after(pages).fault(Fault::Hold(gate.clone())));
        (gate, id)
    }
}
