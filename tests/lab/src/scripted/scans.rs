//! What a test does between two pages of a scan.
//!
//! A hook runs in the server after a page was read and before it is answered, with no lock of a table held: what it
//! writes is not on that page and is on the later ones, every time. Pages of one table wait for each other's hooks.

use super::model::error::AwsError;
use super::model::schema::Key;
use super::model::value::Item;
use super::region::Region;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A page of a scan that was read and not yet answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// The segment it belongs to; 0 of 1 when the scan is not parallel.
    pub segment: u64,
    /// How many segments the scan has.
    pub segments: u64,
    /// Which page of its segment since the segment was last begun, from 1. A page that is asked for twice counts twice.
    pub number: u64,
    /// How many items it has.
    pub count: usize,
    /// The key it ends with; `None` on the last page of the segment.
    pub last: Option<Key>,
}

/// The hand of a hook: changes items without HTTP.
pub struct Hand<'a>(&'a Region);

impl Hand<'_> {
    /// Puts an item.
    ///
    /// # Errors
    /// What DynamoDB would answer to such an item.
    pub fn put(&self, table: &str, item: Item) -> Result<(), AwsError> {
        self.0.table(table)?.lock().put(item, self.0.now()).map(drop)
    }

    /// Deletes an item.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn delete(&self, table: &str, key: Key) -> Result<(), AwsError> {
        self.0.table(table)?.lock().delete(key, self.0.now(), false);
        Ok(())
    }

    /// Moves the server's clock forward.
    pub fn advance_clock(&self, by: std::time::Duration) {
        self.0.clock.advance(by);
    }
}

impl std::fmt::Debug for Hand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hand")
    }
}

type Hook = Box<dyn FnMut(&ScanPage, &Hand<'_>) + Send>;

struct Watch {
    hook: Hook,
    pages: HashMap<(u64, u64), u64>,
}

/// The hooks of every table.
#[derive(Default)]
pub(crate) struct Scans(Mutex<HashMap<String, Arc<Mutex<Watch>>>>);

impl Scans {
    pub(crate) fn set(&self, table: &str, hook: Option<Hook>) {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match hook {
            Some(hook) => {
                let watch = Watch { hook, pages: HashMap::new() };
                hooks.insert(table.to_owned(), Arc::new(Mutex::new(watch)));
            }
            None => drop(hooks.remove(table)),
        }
    }

    /// Numbers the page and runs the hook of its table.
    pub(crate) fn page_was_read(&self, region: &Region, table: &str, first: bool, mut page: ScanPage) {
        let watch = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(table).map(Arc::clone);
        let Some(watch) = watch else { return };
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        let number = watch.pages.entry((page.segment, page.segments)).or_default();
        *number = if first { 1 } else { *number + 1 };
        page.number = *number;
        (watch.hook)(&page, &Hand(region));
    }
}
