//! What a test does to a scripted server: tables, shards, time, faults, and writes that bypass HTTP.

use super::ScriptedAws;
use super::acting::carried_out_now;
use super::faults::{FaultId, FaultRule};
use super::model::error::AwsError;
use super::model::quirks::StreamQuirks;
use super::model::schema::{Key, TableSpec, ViewType};
use super::model::stream::{ShardView, Stream, StreamStatus};
use super::model::value::Item;
use super::region::{Fault, TableCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Up to where a stream is trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimPoint {
    /// This sequence number and everything below it.
    Sequence(u128),
    /// Everything committed before this instant.
    Before(SystemTime),
}

impl ScriptedAws {
    #[track_caller]
    pub(super) fn cell(&self, table: &str) -> Arc<TableCell> {
        match self.region.table(table) {
            Ok(cell) => cell,
            Err(error) => panic!("{error}"),
        }
    }

    /// The server's time.
    pub fn now(&self) -> SystemTime {
        self.region.now()
    }

    /// Moves the server's clock forward: iterators age, delayed records appear, new shards are born later, hidden messages
    /// appear.
    pub fn advance_clock(&self, by: Duration) {
        self.region.clock.advance(by);
        self.desk.time_moved();
    }

    /// Moves the server's clock back: what it does now happened earlier than it did.
    pub fn set_clock_back(&self, by: Duration) {
        self.region.clock.set_back(by);
    }

    /// Makes a table.
    #[track_caller]
    pub fn create_table(&self, spec: TableSpec) {
        if let Err(error) = self.region.create(spec) {
            panic!("{error}");
        }
    }

    /// Deletes a table; its streams stay readable.
    #[track_caller]
    pub fn delete_table(&self, table: &str) {
        if let Err(error) = self.region.delete(table) {
            panic!("{error}");
        }
    }

    /// Deletes a table and makes an empty one as it was made: another TableId, another stream (DS-1). The new TableId.
    #[track_caller]
    pub fn recreate_table(&self, table: &str) -> String {
        let spec = self.cell(table).lock().spec.clone();
        self.recreate_table_as(spec)
    }

    /// Deletes a table and makes another one of the same name. The new TableId.
    #[track_caller]
    pub fn recreate_table_as(&self, spec: TableSpec) -> String {
        let name = spec.name.clone();
        self.delete_table(&name);
        self.create_table(spec);
        self.table_id(&name)
    }

    /// Puts an item without HTTP.
    ///
    /// # Errors
    /// What DynamoDB would answer to such an item.
    #[track_caller]
    pub fn put(&self, table: &str, item: Item) -> Result<(), AwsError> {
        self.cell(table).lock().put(item, self.region.now()).map(drop)
    }

    /// Deletes an item without HTTP.
    #[track_caller]
    pub fn delete(&self, table: &str, key: Key) {
        self.cell(table).lock().delete(key, self.region.now(), false);
    }

    /// Deletes an item as TTL would (DS-F14).
    #[track_caller]
    pub fn expire(&self, table: &str, key: Key) {
        self.cell(table).lock().delete(key, self.region.now(), true);
    }

    /// Changes how awkward the streams of a table are.
    #[track_caller]
    pub fn quirks(&self, table: &str, change: impl FnOnce(&mut StreamQuirks)) {
        change(&mut self.cell(table).lock().quirks);
    }

    /// Stops the publisher of a table's stream: later changes are committed and not readable (DS-12).
    #[track_caller]
    pub fn hold_stream(&self, table: &str) {
        let cell = self.cell(table);
        let mut table = cell.lock();
        table.quirks.held_after = Some(table.last_sequence());
    }

    /// Starts the publisher again.
    #[track_caller]
    pub fn release_stream(&self, table: &str) {
        self.cell(table).lock().quirks.held_after = None;
    }

    /// The ARN of a table's latest stream.
    #[track_caller]
    pub fn stream_arn(&self, table: &str) -> String {
        let cell = self.cell(table);
        let table = cell.lock();
        table.streams.last().map(|stream| stream.arn.to_string()).expect("the table has never had a stream")
    }

    /// The shards of a table's latest stream, in the order they were made.
    #[track_caller]
    pub fn shards(&self, table: &str) -> Vec<ShardView> {
        self.cell(table).lock().streams.last().map(Stream::view).unwrap_or_default()
    }

    /// The ids of the shards that take writes now.
    #[track_caller]
    pub fn open_shards(&self, table: &str) -> Vec<String> {
        self.cell(table).lock().live_stream().map(|stream| stream.open_ids()).unwrap_or_default()
    }

    /// Closes an open shard and opens `children` that share its part of the hash space. Their ids.
    #[track_caller]
    pub fn split(&self, table: &str, shard: &str, children: usize) -> Vec<String> {
        let cell = self.cell(table);
        let split = cell.lock().split(shard, children, self.region.now());
        split.unwrap_or_else(|| panic!("{shard} is not an open shard of {table}"))
    }

    /// Closes an open shard and opens its one child (DS-F5). The child's id.
    #[track_caller]
    pub fn roll(&self, table: &str, shard: &str) -> String {
        self.split(table, shard, 1).swap_remove(0)
    }

    /// Rolls every open shard. The children's ids.
    #[track_caller]
    pub fn roll_all(&self, table: &str) -> Vec<String> {
        self.open_shards(table).iter().map(|shard| self.roll(table, shard)).collect()
    }

    /// Gives the stream of a table exactly `open` open shards and rolls them, each roll `apart` later by the server's
    /// clock, until `listed` shards or a few more are listed in all. To be called on a stream as it was made. Thousands
    /// take milliseconds.
    #[track_caller]
    pub fn grow_shards(&self, table: &str, open: usize, listed: usize, apart: Duration) {
        let first = self.open_shards(table);
        let [only] = first.as_slice() else { panic!("{table} has {} open shards already", first.len()) };
        if open > 1 {
            self.split(table, only, open);
        }
        while self.shards(table).len() < listed {
            self.advance_clock(apart);
            self.roll_all(table);
        }
    }

    /// Drops records from every stream of a table; shards stay listed (DS-F13).
    #[track_caller]
    pub fn trim(&self, table: &str, up_to: TrimPoint) {
        let cell = self.cell(table);
        let mut table = cell.lock();
        for stream in &mut table.streams {
            match up_to {
                TrimPoint::Sequence(through) => stream.trim(through),
                TrimPoint::Before(horizon) => stream.trim_before(horizon),
            }
        }
    }

    /// Does what AWS does after a day: drops records committed before `now - retention` and the shards closed before it.
    #[track_caller]
    pub fn enforce_retention(&self, table: &str, retention: Duration) {
        let horizon = self.region.now() - retention;
        for stream in &mut self.cell(table).lock().streams {
            stream.trim_before(horizon);
            stream.forget_closed_before(horizon);
        }
    }

    /// Makes a shard unknown to every call.
    #[track_caller]
    pub fn vanish(&self, table: &str, shard: &str) {
        let vanished = self.cell(table).lock().streams.iter_mut().any(|stream| stream.vanish(shard));
        assert!(vanished, "{shard} is not a shard of {table}");
    }

    /// Turns the stream off: its shards close, it stays readable.
    #[track_caller]
    pub fn disable_stream(&self, table: &str) {
        self.cell(table).lock().close_stream(self.region.now());
    }

    /// Turns a new stream on, after the old one was turned off. Its ARN.
    #[track_caller]
    pub fn enable_stream(&self, table: &str, view: ViewType) -> String {
        let cell = self.cell(table);
        let arn = {
            let mut table = cell.lock();
            assert!(table.spec.stream.is_none(), "{} has an enabled stream", table.spec.name);
            table.open_stream(view, self.region.stream_label(), self.region.now()).to_string()
        };
        self.region.register_stream(arn.clone(), &cell);
        arn
    }

    /// Sets what DescribeStream says about a table's latest stream: ENABLING lists no shards (DS-F7).
    #[track_caller]
    pub fn set_stream_status(&self, table: &str, status: StreamStatus) {
        if let Some(stream) = self.cell(table).lock().streams.last_mut() {
            stream.status = status;
        }
    }

    /// Makes a stream unknown to every call.
    pub fn forget_stream(&self, arn: &str) {
        self.region.forget_stream(arn);
    }

    /// Expires every iterator of a table that is out now.
    #[track_caller]
    pub fn expire_all_iterators(&self, table: &str) {
        self.cell(table).lock().iterator_generation += 1;
    }

    /// Adds a fault rule.
    pub fn fault(&self, rule: FaultRule<Fault>) -> FaultId {
        self.region.faults.add(rule, self.region.now())
    }

    /// Takes a fault rule away; its count stays.
    pub fn remove_fault(&self, id: FaultId) {
        self.region.faults.remove(id);
    }

    /// Takes every fault rule away.
    pub fn clear_faults(&self) {
        self.region.faults.clear();
    }

    /// How often a rule fired.
    pub fn faults_applied(&self, id: FaultId) -> u64 {
        self.region.faults.fired(id)
    }

    /// How often any rule fired.
    pub fn faults_applied_in_all(&self) -> u64 {
        self.region.faults.fired_in_all()
    }

    /// Calls held by [`Fault::LoseAnswerHeld`].
    pub fn held_calls(&self) -> usize {
        self.region.held()
    }

    /// Carries out the held calls, oldest first, and says what their clients will never hear.
    pub fn release_held(&self) -> Vec<Result<(), AwsError>> {
        self.region.take_held().into_iter().map(carried_out_now).collect()
    }

    /// Calls cut off from their clients (`LoseAnswerLate`, `Delay`) that have not taken effect yet.
    pub fn late_calls(&self) -> u64 {
        self.region.late().load(Ordering::SeqCst)
    }

    /// Makes every call of an operation ("*": of every operation) take at least this long.
    pub fn set_latency(&self, op: &str, latency: Duration) {
        self.region.set_latency(op, latency);
    }
}
