//! Loads what is durable about a store.

use crate::change::StoreId;
use crate::stores::StoreState;
use crate::watermark::keys::Prefix;
use crate::watermark::{DirtyRecord, Index, IndexError, LaneRecord, ParkedRecord, Record, Row, Seed, StoreRecord};

/// A store's state cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error(
    "store {store}: {error}; move the index away and start again: prodY loses nothing, but each store shows `seeding` until it is proven complete anew"
)]
pub struct LoadError {
    /// The store.
    pub store: StoreId,
    /// What was found.
    pub error: IndexError,
}

/// The durable state of a store; the default if there is none. Lanes of an older epoch are left out.
pub fn load(index: &dyn Index, store: &StoreId) -> Result<StoreState, LoadError> {
    read(index, store).map_err(|error| LoadError { store: store.clone(), error })
}

fn read(index: &dyn Index, store: &StoreId) -> Result<StoreState, IndexError> {
    let mut state = StoreState::default();
    let row = Row::Store(store.clone());
    if let Some(bytes) = index.get(&row)? {
        state.record = StoreRecord::decode(&row, &bytes)?;
    }
    for (row, bytes) in index.scan(&Prefix::lanes(store))? {
        if let Row::Lane { epoch, lane, .. } = &row
            && *epoch == state.record.epoch
        {
            state.lanes.insert(lane.clone(), LaneRecord::decode(&row, &bytes)?);
        }
    }
    for (row, bytes) in index.scan(&Prefix::parked(store))? {
        if let Row::Parked { key, .. } = &row {
            state.parked.insert(key.clone(), ParkedRecord::decode(&row, &bytes)?);
        }
    }
    // While a copy runs these are its own business, and may be many.
    if state.record.seed != Seed::Pending {
        for (row, bytes) in index.scan(&Prefix::dirty(store))? {
            if let Row::Dirty { key, .. } = &row {
                state.dirty.insert(key.clone(), DirtyRecord::decode(&row, &bytes)?);
            }
        }
    }
    Ok(state)
}
