//! Everything that can be wrong with one store, said once when it begins and once when it ends.

use crate::replicate::Trouble;

/// By what it is about.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    pub(super) survey: Trouble,
    pub(super) queue: Trouble,
    pub(super) dead: Trouble,
    pub(super) work: Trouble,
    pub(super) walk: Trouble,
    pub(super) index: Trouble,
    pub(super) canary: Trouble,
    pub(super) missing: Trouble,
    pub(super) strange: Trouble,
}

impl Troubles {
    /// All of it, for the status note.
    pub(super) fn sentence(&self) -> Option<String> {
        let named = [
            ("surveying", &self.survey),
            ("reading the queue", &self.queue),
            ("reading the dead letters", &self.dead),
            ("making keys the same", &self.work),
            ("comparing both ends", &self.walk),
            ("index", &self.index),
            ("writing a canary to prodX", &self.canary),
            ("canaries", &self.missing),
            ("messages", &self.strange),
        ];
        let texts: Vec<String> =
            named.iter().filter_map(|(name, t)| t.text().map(|text| format!("{name}: {text}"))).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}
