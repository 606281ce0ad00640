//! The planner in stories, and against a model of the world.

mod failures;
mod model;
mod runs;
mod stories;
