//! What is wrong right now, said once in the log when it begins and once when it ends, and shown for as long as it lasts.

/// One thing that can be wrong.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    text: Option<String>,
}

impl Trouble {
    /// It failed. Logged when it is new.
    pub(crate) fn failed(&mut self, chain: &str, what: &'static str) {
        if self.text.is_none() {
            tracing::warn!(error = chain, "{what}; trying again");
        }
        self.text = Some(chain.to_owned());
    }

    /// It works. Logged when it did not before.
    pub(crate) fn cleared(&mut self) {
        if let Some(text) = self.text.take() {
            tracing::info!(was = text, "works again");
        }
    }

    pub(crate) fn text(&self) -> Option<String> {
        self.text.clone()
    }
}

/// Everything that can be wrong with one store.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    pub(super) source: Trouble,
    pub(super) survey: Trouble,
    pub(super) standby: Trouble,
    pub(super) index: Trouble,
    pub(super) parked: Trouble,
    pub(super) canary: Trouble,
    pub(super) missing: Trouble,
    pub(super) assumptions: Trouble,
    pub(super) copy: Trouble,
}

impl Troubles {
    /// All of it in one sentence, for the status note.
    pub(super) fn sentence(&self) -> Option<String> {
        let named = [
            ("reading prodX", &self.source),
            ("surveying prodX", &self.survey),
            ("writing prodY", &self.standby),
            ("index", &self.index),
            ("parked", &self.parked),
            ("writing a canary to prodX", &self.canary),
            ("canaries", &self.missing),
            ("assumptions", &self.assumptions),
            ("copying", &self.copy),
        ];
        let texts: Vec<String> =
            named.iter().filter_map(|(name, t)| t.text.as_ref().map(|text| format!("{name}: {text}"))).collect();
        if texts.is_empty() { None } else { Some(texts.join("; ")) }
    }
}
