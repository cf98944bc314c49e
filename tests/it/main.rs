//! The integration tests: one binary, a module per part of the product.

mod promote;
mod watermark;
