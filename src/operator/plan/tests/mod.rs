//! The planner in stories, and against a model of the world.

mod model;
mod runs;
mod stories;
