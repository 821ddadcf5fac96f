//! Which settings suit this machine: every combination of a grid, measured alone in a process of its own on one seeded
//! sample, as a table, a chart and an answer.
//!
//! A process per cell keeps the cells apart: its peak memory is its own, and it can load the build of ONNX Runtime that
//! its provider needs.

pub mod batches;
pub mod calibration;
pub mod cell;
pub mod chart;
pub mod generation_cell;
pub mod grid;
pub mod row;
pub mod sample;
pub mod text;
pub mod verdict;

pub use cell::{CellRequest, CellResult};
pub use generation_cell::{GenerationRequest, GenerationResult};
pub use grid::{GenerationGrid, Grid};
