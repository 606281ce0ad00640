//! The house keeps itself tidy: what each room must not hold, which way the arrows point, and that
//! generated files are fresh. ARCHITECTURE.md tells the rules; this is where they are checked.

mod generated;
mod rooms;
mod source;
