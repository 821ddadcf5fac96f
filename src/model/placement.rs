//! Which provider every node of a graph was given to, and whether that is the one that was asked for.
//!
//! ONNX Runtime gives what a provider has no kernel for to the CPU without a word. `session.disable_cpu_ep_fallback` would
//! forbid it, but CUDA leaves arithmetic on shapes to the CPU by design, and hardly a graph would load. So the assignment is
//! recorded while the session is made (`session.record_ep_graph_assignment_info`) and read here. It names operators, not what
//! flows through them: an operator that shapes are computed with passes wherever it stands, and anything else is refused. The
//! record is made after ONNX Runtime's basic optimisations and before its last ones, which only fuse nodes of one provider.

#![allow(unsafe_code)] // ort has no safe wrapper for these functions yet

use anyhow::{Result, anyhow, ensure};
use ort::AsPointer;
use ort::session::Session;
use ort::sys;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, c_char};
use std::ptr;

/// The setting that makes ONNX Runtime record who got which node.
pub(super) const RECORD: &str = "session.record_ep_graph_assignment_info";

const CPU: &str = "CPUExecutionProvider";

/// Operators that a graph computes shapes, lengths and tables of positions with.
const SHAPE_OPERATORS: &str = "Abs Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Floor Gather \
    Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min Mod Mul Neg Not Or Pow Range ReduceMax ReduceMin \
    ReduceProd Reshape Shape Sign Size Slice Split Sqrt Squeeze Sub Tile Unsqueeze Where";

/// A node and who computes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) provider: String,
    pub(super) operator: String,
}

/// Refuses a session of another provider than the CPU's that left more than arithmetic on shapes to the CPU.
pub(super) fn check(session: &Session) -> Result<()> {
    judge(&read(session)?)
}

fn judge(nodes: &[Placed]) -> Result<()> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let shapes: HashSet<&str> = SHAPE_OPERATORS.split_whitespace().collect();
    for node in nodes.iter().filter(|node| node.provider == CPU && !shapes.contains(node.operator.as_str())) {
        *left.entry(&node.operator).or_default() += 1;
    }
    let named: Vec<String> = left.iter().map(|(operator, count)| format!("{operator} ({count})")).collect();
    ensure!(
        left.is_empty(),
        "the provider has no kernel for these operators and would leave them to the CPU: {}\nhint: a graph of another \
         precision, or `--provider cpu`",
        named.join(", ")
    );
    Ok(())
}

/// Every node with its provider.
pub(super) fn read(session: &Session) -> Result<Vec<Placed>> {
    let api = ort::api();
    let mut nodes = Vec::new();
    // SAFETY: the session lives, the arrays and texts belong to it and have the lengths that are written beside them.
    unsafe {
        let (mut parts, mut count) = (ptr::null(), 0);
        status((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut parts, &raw mut count))?;
        for index in 0..count {
            let part = *parts.add(index);
            let mut name = ptr::null();
            status((api.EpAssignedSubgraph_GetEpName)(part, &raw mut name))?;
            let provider = text(name);
            let (mut members, mut members_count) = (ptr::null(), 0);
            status((api.EpAssignedSubgraph_GetNodes)(part, &raw mut members, &raw mut members_count))?;
            for member in 0..members_count {
                let mut name = ptr::null();
                status((api.EpAssignedNode_GetOperatorType)(*members.add(member), &raw mut name))?;
                nodes.push(Placed { provider: provider.clone(), operator: text(name) });
            }
        }
    }
    Ok(nodes)
}

/// # Safety
/// The pointer must be null or a text that ends in a zero byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// # Safety
/// The status must come from a call to ONNX Runtime, and not have been used yet.
unsafe fn status(status: sys::OrtStatusPtr) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { ort::Error::result_from_status(status) }
        .map_err(|error| anyhow!("ONNX Runtime does not say who computes what: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::{provider::Provider, runtime};
    use super::*;
    use std::path::Path;

    fn at(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn placed(provider: &str, operator: &str) -> Placed {
        Placed { provider: provider.to_owned(), operator: operator.to_owned() }
    }

    #[test]
    fn shapes_may_be_computed_on_the_host_and_nothing_else() {
        let cuda = "CUDAExecutionProvider";
        let good = [placed(cuda, "MatMul"), placed(CPU, "Gather"), placed(CPU, "Squeeze"), placed(cuda, "Gather")];
        judge(&good).expect("arithmetic on shapes");
        let bad: Vec<Placed> =
            good.into_iter().chain(["MatMul", "MatMul", "GroupQueryAttention"].map(|op| placed(CPU, op))).collect();
        let error = judge(&bad).expect_err("refused").to_string();
        assert!(error.contains("GroupQueryAttention (1), MatMul (2)") && !error.contains("Gather"), "{error}");
    }

    #[test]
    fn the_record_names_every_operator() {
        runtime::load(&at("models"), Provider::Cpu).expect("`just runtime` brings the library");
        let path = at("tests/fixtures/tiny/tiny_decoder/model.onnx");
        let open = |recorded: bool| {
            let environment = runtime::environment().expect("loaded");
            let builder = Session::builder(environment).expect("builder");
            let builder = if recorded { builder.with_config_entry(RECORD, "1").expect("known") } else { builder };
            { builder }.commit_from_file(&path).expect("loads")
        };
        let nodes = read(&open(true)).expect("recorded");
        let attentions = nodes.iter().filter(|node| **node == placed(CPU, "GroupQueryAttention")).count();
        assert_eq!(attentions, 2, "{nodes:?}");
        assert!(check(&open(true)).expect_err("all on the CPU").to_string().contains("GroupQueryAttention (2)"));
        assert!(read(&open(false)).is_err(), "nothing recorded is no answer");
    }
}
