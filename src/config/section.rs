//! Placeholder for the reader of configuration tables.
pub struct Section<'a>(std::marker::PhantomData<&'a ()>);
/// A problem.
pub struct Problem;
