//! Many changes become one per key, in bounded memory.
//!
//! A buffer coalesces what comes while it fits, which is all of it for the usual loss of some seconds. When it is full it is
//! poured into files, by the hash of the key; at the end each file is read back alone, or in several passes when it is larger
//! than the buffer. In a file the parts of a key stand in their order, so coalescing goes on where it stopped.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::lost::Lost;
use super::spill::Spill;
use crate::change::Key;
use crate::stores::salvage::Found;

/// The buffer, bytes.
pub(super) const BUFFER: usize = 64 << 20;
/// All files together, bytes, at most: more is refused with a sentence.
pub(super) const MOST_SPILLED: u64 = 32 << 30;

/// What is known of a key without showing it: the head of its hash. It names the key in logs, on terminals and in files.
pub(super) type KeyId = [u8; 10];

/// The name of a key.
pub(super) fn id_of(key: &Key) -> KeyId {
    let full: [u8; 32] = Sha256::digest(&key.0).into();
    let mut id = KeyId::default();
    id.copy_from_slice(&full[..10]);
    id
}

/// As it is shown.
pub(super) fn shown(id: &KeyId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Collects changes.
pub(super) struct Coalescer {
    buffer: BTreeMap<KeyId, Lost>,
    bytes: usize,
    bound: usize,
    folder: PathBuf,
    spill: Option<Spill>,
    changes: u64,
}

impl Coalescer {
    /// Its files, should it need any, are in `folder`.
    pub(super) fn new(folder: PathBuf, bound: usize) -> Self {
        Self { buffer: BTreeMap::new(), bytes: 0, bound, folder, spill: None, changes: 0 }
    }

    /// Changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Adds a change.
    pub(super) fn add(&mut self, found: Found) -> io::Result<()> {
        self.changes += 1;
        let id = id_of(&found.key);
        let lost = Lost::first(found);
        merge(&mut self.buffer, &mut self.bytes, id, lost);
        if self.bytes > self.bound { self.pour() } else { Ok(()) }
    }

    fn pour(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::create(&self.folder)?),
        };
        for (id, lost) in std::mem::take(&mut self.buffer) {
            spill.write(&id, &lost)?;
        }
        self.bytes = 0;
        if spill.bytes() > MOST_SPILLED {
            let what = format!("more than {} GiB of changes: salvage the stores one by one", MOST_SPILLED >> 30);
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    /// Everything, part by part; each key is in one part.
    pub(super) fn finish(mut self) -> io::Result<Parts> {
        if self.spill.is_some() {
            self.pour()?;
        }
        let bound = self.bound as u64;
        let mut parts = Vec::new();
        if let Some(spill) = &mut self.spill {
            spill.flush()?;
            for file in 0..spill.files() {
                let passes = spill.bytes_of(file).div_ceil(bound.max(1)).max(1);
                parts.extend((0..passes).map(|pass| (file, pass, passes)));
            }
            parts.reverse();
        }
        Ok(Parts { buffer: Some(self.buffer).filter(|all| !all.is_empty()), spill: self.spill, parts })
    }
}

fn merge(into: &mut BTreeMap<KeyId, Lost>, bytes: &mut usize, id: KeyId, lost: Lost) {
    match into.get_mut(&id) {
        Some(have) => {
            let before = have.size();
            have.then(lost);
            *bytes = (*bytes + have.size()).saturating_sub(before);
        }
        None => {
            *bytes += lost.size();
            into.insert(id, lost);
        }
    }
}

/// What was collected.
pub(super) struct Parts {
    buffer: Option<BTreeMap<KeyId, Lost>>,
    spill: Option<Spill>,
    parts: Vec<(usize, u64, u64)>,
}

impl Parts {
    /// The next part; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<BTreeMap<KeyId, Lost>>> {
        if let Some(buffer) = self.buffer.take() {
            return Ok(Some(buffer));
        }
        let (Some(spill), Some((file, pass, passes))) = (&mut self.spill, self.parts.pop()) else { return Ok(None) };
        let (mut part, mut bytes) = (BTreeMap::new(), 0);
        spill.read(
            file,
            |id| u64::from(id[9]) + 256 * u64::from(id[8]),
            pass,
            passes,
            |id, lost| {
                merge(&mut part, &mut bytes, id, lost);
            },
        )?;
        Ok(Some(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::SourceTime;
    use crate::stores::salvage::{Digest, Image, Origin};
    use proptest::prelude::*;

    fn found(key: u16, value: u8, at: i64) -> Found {
        Found {
            key: Key(key.to_be_bytes().to_vec().into()),
            name: format!("{{\"pk\":{key}}}"),
            at: Some(SourceTime(at)),
            before: Some(Digest([value.wrapping_sub(1); 16])),
            image: (value > 20).then(|| Image { json: format!("{value}"), digest: Digest([value; 16]) }),
            origin: Origin::Stream,
            expired: value == 255,
        }
    }

    fn collect(changes: &[(u16, u8)], bound: usize) -> (BTreeMap<KeyId, Lost>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut coalescer = Coalescer::new(folder.path().to_owned(), bound);
        for (at, (key, value)) in (0..).zip(changes) {
            coalescer.add(found(*key, *value, at)).unwrap();
        }
        let mut parts = coalescer.finish().unwrap();
        let (mut all, mut count) = (BTreeMap::new(), 0);
        while let Some(part) = parts.next().unwrap() {
            for (id, lost) in part {
                assert!(all.insert(id, lost).is_none(), "a key in two parts");
            }
            count += 1;
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file has a name");
        (all, count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// However small the buffer, the result is that of a large one.
        #[test]
        fn the_buffer_changes_nothing(
            changes in proptest::collection::vec((0_u16..60, any::<u8>()), 0..400),
            bound in 300_usize..20_000,
        ) {
            let (small, _) = collect(&changes, bound);
            let (large, parts) = collect(&changes, usize::MAX >> 1);
            prop_assert!(parts <= 1);
            prop_assert_eq!(small, large);
        }
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_in_passes() {
        let changes: Vec<(u16, u8)> = (0..6000_u16).map(|n| (n % 3000, 30 + (n / 3000) as u8)).collect();
        let (all, parts) = collect(&changes, 4_000);
        assert_eq!(all.len(), 3000);
        assert!(parts > 64, "{parts} parts");
        assert!(all.values().all(|lost| lost.changes == 2 && lost.steps.len() == 2));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        let mut coalescer = Coalescer::new("/nonexistent/folder".into(), 10);
        assert!(coalescer.add(found(1, 2, 3)).is_err());
    }
}
