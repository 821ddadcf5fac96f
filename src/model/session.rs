//! One ONNX Runtime session: options in, named tensors in, named tensors out. Every call into `ort`'s builder and every
//! conversion of its errors stands here.

use super::buffers::InputBuffers;
use super::cuda::{self, Cuda};
use super::element::Element;
use super::manifest::HINT;
use super::memory::{Device, Memory};
use super::out_of_memory;
use super::placement;
use super::provider::{Precision, Provider};
use super::runtime;
use anyhow::{Context, Result, anyhow};
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session as OrtSession, SessionInputValue, builder::GraphOptimizationLevel};
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
    /// Who computes.
    pub provider: Provider,
    /// In which arithmetic.
    pub precision: Precision,
    /// Whether calls may be captured as CUDA graphs.
    pub graphs: bool,
}

impl SessionOptions {
    /// ONNX Runtime's own kernels in the precision of the graph.
    #[must_use]
    pub fn cpu(threads: usize, arena: bool) -> Self {
        Self { threads, arena, provider: Provider::Cpu, precision: Precision::F32, graphs: false }
    }
}

/// A loaded graph.
pub struct Session {
    /// Where batches are put that the graph does not read from the host's memory. Before the session, for they go before it.
    buffers: Option<InputBuffers>,
    inner: OrtSession,
    provider: Provider,
    /// Whether the session was made for CUDA graphs: every call has to say then whether it is one.
    graphs: bool,
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
                .and_then(|builder| builder.with_memory_pattern(options.arena))?;
            let builder = match options.provider {
                // A graph that OpenVINO takes only in part would be finished by the CPU provider without a word. CUDA leaves
                // arithmetic on shapes to the CPU by design: what else it leaves is looked up below.
                Provider::OpenVino => builder.with_config_entry("session.disable_cpu_ep_fallback", "1")?,
                Provider::Cuda => builder.with_config_entry(placement::RECORD, "1")?,
                Provider::Cpu => builder,
            };
            let mut builder = builder.with_execution_providers([provider(options)])?;
            builder.commit_from_file(path)
        };
        let inner = build().map_err(|error| {
            let error = out_of_memory::error("ONNX Runtime", &error);
            if out_of_memory::is_out_of_memory(&error) {
                return error.context(format!("no memory is left for `{}`\n{NO_ROOM_HINT}", path.display()));
            }
            error.context(failed_to_load(path, options.provider))
        })?;
        if options.provider == Provider::Cuda {
            placement::check(&inner).with_context(|| format!("`{}`", path.display()))?;
        }
        let inputs = inner.inputs().iter().map(|input| input.name().to_owned()).collect();
        let outputs = inner.outputs().iter().map(|output| output.name().to_owned()).collect();
        let buffers = match options.provider {
            Provider::Cpu | Provider::OpenVino => None,
            Provider::Cuda => {
                let memory = device_memory(&inner).with_context(|| failed_to_load(path, options.provider))?;
                Some(InputBuffers::new(memory))
            }
        };
        Ok(Self { buffers, inner, provider: options.provider, graphs: options.graphs, inputs, outputs })
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

    /// Floating-point type of an input.
    pub(super) fn input_element(&self, name: &str) -> Result<Element> {
        let declared = self.inner.inputs().iter().find(|input| input.name() == name);
        let declared = declared.and_then(|input| input.dtype().tensor_type());
        let declared = declared.ok_or_else(|| anyhow!("the graph has no input tensor `{name}`"))?;
        Element::of(declared).with_context(|| format!("the input `{name}`"))
    }

    /// The memory that the graph computes in.
    pub(super) fn memory(&self) -> Result<Memory> {
        if self.provider == Provider::Cuda { device_memory(&self.inner) } else { Ok(Memory::Host) }
    }

    /// Dimensions of an output as the graph declares them; -1 where they are free.
    pub(super) fn output_shape(&self, name: &str) -> Result<Vec<i64>> {
        self.inner
            .outputs()
            .iter()
            .find(|output| output.name() == name)
            .and_then(|output| output.dtype().tensor_shape().map(|shape| shape.to_vec()))
            .ok_or_else(|| anyhow!("the graph has no output tensor `{name}`"))
    }

    /// Runs the graph on inputs of one shape and hands one output to `read`. On a GPU the inputs are copied to tensors that are
    /// kept there and the output is bound to host memory, so that nothing else crosses the bus.
    pub(super) fn run_for<R>(
        &mut self,
        shape: [usize; 2],
        inputs: Vec<(&str, Vec<i64>)>,
        output: &str,
        read: impl FnOnce(&DynValue) -> Result<R>,
    ) -> Result<R> {
        let provider = self.provider;
        let failed = |error: ort::Error| failed_inference(provider, &error);
        let Some(buffers) = &mut self.buffers else {
            let tensor = |(name, data)| Ok((Cow::Borrowed(name), tensor_i64(&shape, data)?.into()));
            let inputs: Inputs<'_> = inputs.into_iter().map(tensor).collect::<Result<_>>()?;
            let outputs = self.inner.run(inputs).map_err(failed)?;
            let value = outputs.get(output).ok_or_else(|| anyhow!("the graph returned no `{output}`"))?;
            return read(value);
        };
        let mut binding = self.inner.create_binding().map_err(failed)?;
        for (name, buffer) in buffers.fill(shape, inputs)? {
            // Bound anew for every batch: that is a pointer where the graph reads the device's memory, but an input that it
            // reads on the host is copied now or never.
            binding.bind_input(name.as_str(), buffer).map_err(failed)?;
        }
        binding.bind_output_to_device(output, &MemoryInfo::default()).map_err(failed)?;
        let outputs = self.inner.run_binding(&binding).map_err(failed)?;
        let value = outputs.get(output).ok_or_else(|| anyhow!("the graph returned no `{output}`"))?;
        read(value)
    }

    /// Keeps input tensors in this memory.
    #[cfg(test)]
    pub(super) fn keep_inputs(&mut self, memory: Memory) {
        self.buffers = Some(InputBuffers::new(memory));
    }

    /// Shapes of input tensors that are kept.
    #[cfg(test)]
    pub(super) fn kept_shapes(&self) -> usize {
        self.buffers.as_ref().map_or(0, InputBuffers::shapes)
    }

    /// A call whose tensors stay bound from one run to the next.
    pub(super) fn bind(&self) -> Result<IoBinding> {
        self.inner.create_binding().map_err(|error| out_of_memory::error("cannot prepare a call", &error))
    }

    /// Whether calls may be captured.
    pub(super) fn captures(&self) -> bool {
        self.graphs
    }

    /// Runs the graph on bound tensors and returns one output.
    pub(super) fn run_bound(&mut self, binding: &mut IoBinding, output: &str, call: Call) -> Result<DynValue> {
        let provider = self.provider;
        let failed = |error: ort::Error| failed_inference(provider, &error);
        let mut outputs = if provider == Provider::Cuda && (call.shrinks || self.graphs) {
            let mut options = RunOptions::new().map_err(failed)?;
            if call.shrinks {
                options.set("memory.enable_memory_arena_shrinkage", "gpu:0").map_err(failed)?;
            }
            if self.graphs {
                let id = call.graph.map_or_else(|| "-1".to_owned(), |id| id.to_string());
                options.set("gpu_graph_id", id).map_err(failed)?;
            }
            self.inner.run_binding_with_options(binding, &options).map_err(failed)?
        } else {
            self.inner.run_binding(binding).map_err(failed)?
        };
        outputs.remove(output).ok_or_else(|| anyhow!("the graph returned no `{output}`"))
    }
}

/// How bound tensors are run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call {
    /// Afterwards a GPU gets back what earlier tensors took and nobody uses.
    pub(super) shrinks: bool,
    /// Number of the CUDA graph that this call is: captured at its first call, replayed at the others.
    pub(super) graph: Option<usize>,
}

/// A call that failed. On a GPU what it had begun goes on, and nobody may use that memory before it is done.
fn failed_inference(provider: Provider, error: &ort::Error) -> anyhow::Error {
    let error = out_of_memory::error("inference failed", error);
    if provider != Provider::Cuda {
        return error;
    }
    match Cuda::get().and_then(Cuda::wait_for_everything) {
        Ok(()) => error,
        Err(lost) => error.context(format!("{lost:#}")),
    }
}

/// The memory of the GPU that the session runs on.
fn device_memory(session: &OrtSession) -> Result<Memory> {
    let device = gpu_allocator(session, AllocationDevice::CUDA, MemoryType::Default)?;
    let pinned = gpu_allocator(session, AllocationDevice::CUDA_PINNED, MemoryType::CPUOutput)?;
    Ok(Memory::Device(Device::new(Cuda::get()?, device, pinned)))
}

/// An allocator of the GPU that the session runs on, or of host memory that it copies to.
fn gpu_allocator(session: &OrtSession, device: AllocationDevice<'_>, kind: MemoryType) -> Result<Allocator> {
    let memory = MemoryInfo::new(device, 0, AllocatorType::Device, kind);
    let allocator = memory.and_then(|memory| Allocator::new(session, memory));
    allocator.map_err(|error| out_of_memory::error("no memory on the GPU", &error))
}

/// Values of a row that share one scale where OpenVINO quantises activations. On MiniLM 64 was as fast as 128 and strayed
/// less from f32; 32 was a fifth slower.
const GROUP_SIZE: usize = 64;

/// The provider with its options. Asked for and not there is an error: ort would otherwise go on without it.
fn provider(options: SessionOptions) -> ExecutionProviderDispatch {
    match options.provider {
        Provider::Cpu => ort::ep::CPU::default().with_arena_allocator(options.arena).build(),
        // By default it computes f32 products in TF32 on every GPU that has it: ten bits of mantissa.
        // By default its fused norms sum squares in the half type, which the exported graphs are not meant for.
        // Its arena grows by what is asked for: by powers of two, a cache would take up to twice its size.
        Provider::Cuda => ort::ep::CUDA::default()
            .with_tf32(false)
            .with_skip_layer_norm_strict_mode(true)
            .with_cuda_graph(options.graphs)
            .with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested)
            .build(),
        Provider::OpenVino => {
            let precision = if options.precision == Precision::Bf16 { "bf16" } else { "f32" };
            // Pinned threads of several sessions would all sit on the same cores.
            let load_config = format!(
                r#"{{"CPU":{{"INFERENCE_PRECISION_HINT":"{precision}","ENABLE_CPU_PINNING":"NO","DYNAMIC_QUANTIZATION_GROUP_SIZE":"{GROUP_SIZE}"}}}}"#
            );
            ort::ep::OpenVINO::default()
                .with_device_type("CPU")
                .with_num_threads(options.threads)
                .with_arbitrary_config("load_config", load_config)
                .build()
        }
    }
    .error_on_failure()
}

/// What helps where a model does not fit.
const NO_ROOM_HINT: &str = "hint: free memory, that of the GPU where one computes; every worker of an evaluator has the weights in memory: \
                            `scoring.workers`, `--workers`";

/// What was loaded from where, and what brings it.
pub(super) fn failed_to_load(path: &Path, provider: Provider) -> String {
    let library = runtime::library().map_or_else(String::new, |library| format!(" with `{}`", library.display()));
    let hint = match provider {
        Provider::Cpu => return format!("cannot load `{}`\n{HINT}", path.display()),
        Provider::Cuda => cuda::HINT.to_owned(),
        Provider::OpenVino => format!("hint: `{}` brings the library that has it", provider.recipe()),
    };
    format!("cannot load `{}` on the provider `{}`{library}\n{hint}", path.display(), provider.name())
}

/// An `i64` tensor that takes over the data.
pub(super) fn tensor_i64(shape: &[usize], data: Vec<i64>) -> Result<DynValue> {
    Tensor::from_array((shape.to_vec(), data)).map(ort::value::Value::into_dyn).map_err(|error| anyhow!("{error}"))
}

/// Shape and data of an `f32` tensor.
pub(super) fn view_f32(value: &DynValue) -> Result<(Vec<usize>, &[f32])> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(|error| anyhow!("not a float tensor: {error}"))?;
    Ok((shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect(), data))
}
