pub mod config;
pub mod compactor;
