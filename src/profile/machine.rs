//! Facts about the machine and the process, read from the system's own files; absent where the system has none.

use crate::store::run_record::Machine;
use std::fs;

/// The machine, for `run.json`.
#[must_use]
pub fn describe() -> Machine {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name").map(str::to_owned));
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal"));
    Machine {
        cpu: cpu.unwrap_or_default(),
        cores: cores(),
        memory_mb: memory.unwrap_or(0) / 1024,
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        gpu: None,
    }
}

/// Hardware threads available to the process.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sets the peak of resident memory back to what is resident now, so that the next node is measured from there. What the
/// allocator kept of the node before stays in it.
pub fn reset_peak_memory() {
    // Not every system allows it; the peak then covers the whole process, which `peak_memory_mb` documents.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Highest resident memory of the process since the last reset, in MB.
#[must_use]
pub fn peak_memory_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmHWM").map(|kilobytes| kilobytes as f64 / 1024.0)
}

/// Bytes in MB.
#[must_use]
pub fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let text = "VmPeak:\t  10 kB\nVmHWM:\t  2048 kB\n";
        assert_eq!(kilobytes(text, "VmHWM"), Some(2048));
        assert_eq!(kilobytes(text, "VmSwap"), None);
    }
}
