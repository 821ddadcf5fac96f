//! One ONNX Runtime session: options in, named tensors in, named tensors out. Every call into `ort`'s builder and every
//! conversion of its errors stands here.

use super::manifest::HINT;
use super::runtime;
use anyhow::{Context, Result, anyhow};
use ort::session::{Session as OrtSession, SessionInputValue, builder::GraphOptimizationLevel};
use ort::value::{DynValue, Tensor};
use std::borrow::Cow;
use std::path::Path;

/// How a session runs.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// Threads inside one operator.
    pub threads: usize,
    /// Keep freed memory for the next call. Faster for batches of one size; the largest batch's memory is never given
    /// back.
    pub arena: bool,
}

/// A loaded graph.
pub struct Session {
    inner: OrtSession,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// Values by name, in the order they are handed to the graph.
pub(super) type Inputs<'v> = Vec<(Cow<'v, str>, SessionInputValue<'v>)>;

impl Session {
    /// Loads a graph. The error names the file and the command that brings it.
    pub fn open(path: &Path, options: SessionOptions) -> Result<Self> {
        let environment = runtime::environment()?;
        let build = || -> ort::Result<OrtSession> {
            let builder = OrtSession::builder(environment)?
                .with_optimization_level(GraphOptimizationLevel::All)
                .and_then(|builder| builder.with_intra_threads(options.threads))
                .and_then(|builder| builder.with_inter_threads(1))
                .and_then(|builder| builder.with_memory_pattern(options.arena))
                .map_err(ort::Error::<()>::from)?;
            let provider = ort::ep::CPU::default().with_arena_allocator(options.arena).build();
            let mut builder = builder.with_execution_providers([provider]).map_err(ort::Error::<()>::from)?;
            builder.commit_from_file(path)
        };
        let inner = build()
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("cannot load `{}`\n{HINT}", path.display()))?;
        let inputs = inner.inputs().iter().map(|input| input.name().to_owned()).collect();
        let outputs = inner.outputs().iter().map(|output| output.name().to_owned()).collect();
        Ok(Self { inner, inputs, outputs })
    }

    /// Names of the graph's inputs.
    #[must_use]
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Names of the graph's outputs.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Dimensions of an input as the graph declares them; -1 where they are free.
    pub(super) fn input_shape(&self, name: &str) -> Result<Vec<i64>> {
        self.inner
            .inputs()
            .iter()
            .find(|input| input.name() == name)
            .and_then(|input| input.dtype().tensor_shape().map(|shape| shape.to_vec()))
            .ok_or_else(|| anyhow!("the graph has no input tensor `{name}`"))
    }

    /// Runs the graph and returns every output by name.
    pub(super) fn run(&mut self, inputs: Inputs<'_>) -> Result<Vec<(String, DynValue)>> {
        let mut outputs = self.inner.run(inputs).map_err(|error| anyhow!("inference failed: {error}"))?;
        self.outputs
            .iter()
            .map(|name| {
                let value = outputs.remove(name).ok_or_else(|| anyhow!("the graph returned no `{name}`"))?;
                Ok((name.clone(), value))
            })
            .collect()
    }
}

/// An `i64` tensor that takes over the data.
pub(super) fn tensor_i64(shape: &[usize], data: Vec<i64>) -> Result<DynValue> {
    Tensor::from_array((shape.to_vec(), data)).map(ort::value::Value::into_dyn).map_err(|error| anyhow!("{error}"))
}

/// An `f32` tensor that takes over the data.
pub(super) fn tensor_f32(shape: &[usize], data: Vec<f32>) -> Result<DynValue> {
    Tensor::from_array((shape.to_vec(), data)).map(ort::value::Value::into_dyn).map_err(|error| anyhow!("{error}"))
}

/// Shape and data of an `f32` tensor.
pub(super) fn view_f32(value: &DynValue) -> Result<(Vec<usize>, &[f32])> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(|error| anyhow!("not a float tensor: {error}"))?;
    Ok((shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect(), data))
}
