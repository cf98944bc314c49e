//! The file of an export: written whole, synced and checked before anything is said about it; read back line by line.
//!
//! Until it is complete it has another name, and what ends early leaves no file that could be taken for a list.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cli::client::Failure;
use crate::salvage::{Begin, End, FORMAT, KeyLine, Line, StoreLine};

/// A line, at most, bytes: two items of 400 KB in base 64 and more.
const MOST_LINE: usize = 8 << 20;

/// An export that is being received.
pub(super) struct Export {
    wanted: Option<PathBuf>,
    file: Option<Open>,
    rest: Vec<u8>,
    begin: Option<Begin>,
    stores: Vec<StoreLine>,
    failed: Vec<(String, String)>,
    keys: u64,
    lines: Sha256,
    all: Sha256,
    end: Option<End>,
}

struct Open {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    /// It is complete: keep it.
    done: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.done {
            // What is incomplete must not look like a list; if it cannot be removed, its name says what it is.
            drop(std::fs::remove_file(&self.partial));
        }
    }
}

/// A complete export.
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) begin: Begin,
    pub(super) stores: Vec<StoreLine>,
    /// Stores that could not be listed, and why.
    pub(super) failed: Vec<(String, String)>,
    pub(super) end: End,
    /// SHA-256 of the file.
    pub(super) digest: String,
}

impl Export {
    pub(super) fn begin(wanted: Option<&Path>) -> Self {
        Self {
            wanted: wanted.map(Path::to_owned),
            file: None,
            rest: Vec::new(),
            begin: None,
            stores: Vec::new(),
            failed: Vec::new(),
            keys: 0,
            lines: Sha256::new(),
            all: Sha256::new(),
            end: None,
        }
    }

    /// Takes what came; tells of every key.
    pub(super) fn take(&mut self, chunk: &[u8], tell: &mut impl FnMut(&KeyLine)) -> Result<(), Failure> {
        self.rest.extend_from_slice(chunk);
        let mut begun = 0;
        while let Some(length) = self.rest[begun..].iter().position(|byte| *byte == b'\n') {
            let line = self.rest[begun..=begun + length].to_vec();
            begun += length + 1;
            self.line(&line, tell)?;
        }
        self.rest.drain(..begun);
        if self.rest.len() > MOST_LINE {
            return Err(Failure::new("the daemon sends a line without an end", "are both the same version?"));
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], tell: &mut impl FnMut(&KeyLine)) -> Result<(), Failure> {
        let line: Line = serde_json::from_slice(bytes).map_err(|e| {
            Failure::new(format!("the daemon sends a line that is none: {e}"), "are both the same version?")
        })?;
        match &line {
            Line::Progress { .. } => return Ok(()),
            Line::Begin(begin) => self.open(begin)?,
            Line::Key(key) => {
                self.keys += 1;
                self.lines.update(bytes);
                tell(key);
            }
            Line::Store(store) => self.stores.push((**store).clone()),
            Line::Failed { store: Some(store), why } => self.failed.push((store.to_string(), why.clone())),
            Line::Failed { store: None, why } => {
                return Err(Failure::new(format!("the list broke off: {why}"), "no file was left; list again"));
            }
            Line::End(end) => self.end = Some(end.clone()),
        }
        let Some(open) = &mut self.file else {
            return Err(Failure::new("the list does not begin with its head", "are both the same version?"));
        };
        self.all.update(bytes);
        let failed = |e: &io::Error| disk(&open.partial, e);
        open.file.write_all(bytes).map_err(|e| failed(&e))
    }

    fn open(&mut self, begin: &Begin) -> Result<(), Failure> {
        if begin.format != FORMAT {
            let what = format!("the list has format {}, and this program knows {FORMAT}", begin.format);
            return Err(Failure::new(what, "use the program of the daemon's version"));
        }
        let path = self.wanted.clone().unwrap_or_else(|| {
            let at: String = begin.asked_at.to_second().chars().filter(char::is_ascii_alphanumeric).collect();
            let app: String = begin.app.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            PathBuf::from(format!("plimsoll-salvage-{app}-{at}.jsonl"))
        });
        if path.exists() {
            return Err(Failure::new(
                format!("{} exists", path.display()),
                "an export is never overwritten; give another --out",
            ));
        }
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut options = File::options();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let file = made.map_err(|e| disk(&partial, &e))?;
        self.file = Some(Open { path, partial, file: BufWriter::new(file), done: false });
        self.begin = Some(begin.clone());
        Ok(())
    }

    /// Checks that it is whole, syncs it, and gives it its name.
    pub(super) fn finish(mut self) -> Result<Written, Failure> {
        let broken = || Failure::new("the list broke off before its end", "no file was left; list again");
        let (Some(begin), Some(end), Some(mut open)) = (self.begin.take(), self.end.take(), self.file.take()) else {
            return Err(broken());
        };
        if !self.rest.is_empty() || end.keys != self.keys || end.sha256 != hex(self.lines) {
            return Err(Failure::new(
                "the list arrived damaged: its digest does not match",
                "no file was left; list again",
            ));
        }
        let kept = open.file.flush().and_then(|()| open.file.get_ref().sync_all());
        let kept = kept.and_then(|()| std::fs::rename(&open.partial, &open.path));
        let kept = kept.and_then(|()| {
            let folder = open.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        kept.map_err(|e| disk(&open.path, &e))?;
        open.done = true;
        let path = open.path.clone();
        Ok(Written { path, begin, stores: self.stores, failed: self.failed, end, digest: hex(self.all) })
    }
}

/// A list that was written before, and maybe edited.
#[derive(Debug)]
pub(super) struct Read {
    path: PathBuf,
    reader: BufReader<File>,
    number: usize,
    /// Whose it is.
    pub(super) begin: Begin,
}

impl Read {
    /// Opens it and reads its head.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|e| Failure::new(format!("{}: {e}", path.display()), "check the path"))?;
        let mut reader = BufReader::new(file);
        let first = line_of(&mut reader, path, 1)?.unwrap_or_default();
        match serde_json::from_slice::<Line>(&first) {
            Ok(Line::Begin(begin)) if begin.format == FORMAT => {
                Ok(Self { path: path.to_owned(), reader, number: 1, begin })
            }
            Ok(Line::Begin(begin)) => {
                let what = format!("{} has format {}, and this program knows {FORMAT}", path.display(), begin.format);
                Err(Failure::new(what, "use the program that wrote it"))
            }
            _ => Err(Failure::new(
                format!("{} is no list of lost keys: its first line is not the head of one", path.display()),
                "give a file that `plimsoll salvage` wrote; when you filter it, keep the first line",
            )),
        }
    }

    /// The next key; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<KeyLine>, Failure> {
        loop {
            self.number += 1;
            let Some(bytes) = line_of(&mut self.reader, &self.path, self.number)? else { return Ok(None) };
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<Line>(&bytes) {
                Ok(Line::Key(key)) => return Ok(Some(key)),
                Ok(Line::Begin(begin)) if begin != self.begin => {
                    return Err(self.odd("the head of another list: two lists in one file"));
                }
                Ok(_) => {}
                Err(error) => return Err(self.odd(&error.to_string())),
            }
        }
    }

    fn odd(&self, what: &str) -> Failure {
        let sentence = format!("{}, line {}: {what}", self.path.display(), self.number);
        Failure::new(sentence, "nothing of the file was applied; mend the line or take it out")
    }
}

/// One line with its end; `None` at the end of the file.
fn line_of(reader: &mut BufReader<File>, path: &Path, number: usize) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(MOST_LINE as u64 + 1).read_until(b'\n', &mut bytes);
    read.map_err(|e| Failure::new(format!("{}: {e}", path.display()), "check the file"))?;
    if bytes.len() > MOST_LINE {
        let what = format!("{}, line {number}: longer than {MOST_LINE} bytes", path.display());
        return Err(Failure::new(what, "this is no list of lost keys"));
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

fn disk(path: &Path, error: &io::Error) -> Failure {
    let sentence = format!("the list could not be kept in {}: {error}", path.display());
    Failure::new(sentence, "nothing was applied and no list was left; make room, or give another --out")
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
