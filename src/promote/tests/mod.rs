//! The promotion as a whole, against doubles: an index that dies and fails on demand, a flow, and steps whose effects
//! outlive the process.

mod calls;
mod crashes;
mod gate_table;
mod journal_rules;
mod plan_rules;
mod troubles;
mod world;
