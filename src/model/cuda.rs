//! The few functions of the CUDA runtime that poq calls itself: copies of rows between buffers on the card, and the card's
//! free memory. ONNX Runtime's C API copies whole tensors only.
//!
//! The library is the one that ONNX Runtime's CUDA provider has loaded already (the loader finds it by its name), so nothing
//! is linked and a machine without a GPU needs nothing. Both use the device's primary context, so their addresses mean the
//! same. ONNX Runtime computes on a stream of its own and waits for it at the end of every call; copies here go to the
//! default stream, and whoever made them waits with [`Cuda::synchronize`] before the next call.

#![allow(unsafe_code)] // calls into a C library; each says why it may

use anyhow::{Context, Result, anyhow, bail};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// By descending version: the build of ONNX Runtime that the registry names is for CUDA 13.
const LIBRARIES: [&str; 3] = ["libcudart.so.13", "libcudart.so.12", "libcudart.so"];

/// The same of cuDNN.
const CUDNN: [&str; 2] = ["libcudnn.so.9", "libcudnn.so"];

/// What `just runtime cuda` does not bring.
pub(super) const HINT: &str = "hint: `just runtime cuda` brings ONNX Runtime with CUDA, which takes an NVIDIA GPU with its driver, and \
    CUDA 13 and cuDNN 9 where the loader finds them: `export LD_LIBRARY_PATH=$(just cuda-libraries)` where `just models` or `just \
    reproduce` installed them; without a GPU, `provider = \"cpu\"` in the experiment";

/// `cudaErrorMemoryAllocation`.
const OUT_OF_MEMORY: c_int = 2;

/// The null stream.
const DEFAULT_STREAM: *mut c_void = std::ptr::null_mut();

type Copy2d = unsafe extern "C" fn(*mut c_void, usize, *const c_void, usize, usize, usize, c_int, *mut c_void) -> c_int;
type Copy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int, *mut c_void) -> c_int;
type Set2d = unsafe extern "C" fn(*mut c_void, usize, c_int, usize, usize, *mut c_void) -> c_int;
type Set = unsafe extern "C" fn(*mut c_void, c_int, usize, *mut c_void) -> c_int;
type MemoryInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;
type Synchronize = unsafe extern "C" fn(*mut c_void) -> c_int;
type Properties = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
type WaitForEverything = unsafe extern "C" fn() -> c_int;
type ErrorText = unsafe extern "C" fn(c_int) -> *const c_char;
type LastError = unsafe extern "C" fn() -> c_int;

/// From where to where a copy goes: `cudaMemcpyKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the host's memory to the card's.
    Upload = 1,
    /// From the card's memory to the host's.
    Download = 2,
    /// Within the card.
    Within = 3,
}

/// A rectangle of bytes to copy: `height` stretches of `width` bytes, `pitch` apart on either side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rectangle {
    pub(super) to: *mut u8,
    pub(super) to_pitch: usize,
    pub(super) from: *const u8,
    pub(super) from_pitch: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Rectangle {
    /// A single stretch.
    pub(super) fn stretch(to: *mut u8, from: *const u8, width: usize) -> Self {
        Self { to, to_pitch: width, from, from_pitch: width, width, height: 1 }
    }
}

/// Loads the first library that is there.
fn first_of(names: &[&str], what: &str) -> Result<Library> {
    let mut reasons = Vec::new();
    for name in names {
        // SAFETY: the initialisers of NVIDIA's libraries have no conditions.
        match unsafe { Library::new(*name) } {
            Ok(library) => return Ok(library),
            Err(error) => reasons.push(format!("{:#}", anyhow!(error))),
        }
    }
    bail!("{what} cannot be loaded: {}", reasons.join("; "))
}

/// Loads cuDNN, which attention in evaluators is computed with. ONNX Runtime looks for it when it first needs it, and without it
/// every batch would fail.
pub(super) fn load_cudnn() -> Result<()> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| first_of(&CUDNN, "cuDNN").map_err(|error| format!("{error:#}")));
    loaded.as_ref().map(|_| ()).map_err(|message| anyhow!("{message}"))
}

/// The CUDA runtime.
pub(super) struct Cuda {
    copy: Copy,
    copy_2d: Copy2d,
    set: Set,
    set_2d: Set2d,
    memory_info: MemoryInfo,
    synchronize: Synchronize,
    wait_for_everything: WaitForEverything,
    properties: Properties,
    error_text: ErrorText,
    last_error: LastError,
    /// Keeps the functions' code where it is.
    _library: Library,
}

impl Cuda {
    /// The runtime, loaded at the first call.
    pub(super) fn get() -> Result<&'static Self> {
        static RUNTIME: OnceLock<Result<Cuda, String>> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| Self::load().map_err(|error| format!("{error:#}")));
        runtime.as_ref().map_err(|message| anyhow!("{message}"))
    }

    fn load() -> Result<Self> {
        Self::bind(first_of(&LIBRARIES, "the CUDA runtime")?).context("the CUDA runtime cannot be used")
    }

    fn bind(library: Library) -> Result<Self> {
        // SAFETY: the types are those that the CUDA runtime declares for these functions, the same in versions 12 and 13.
        unsafe {
            Ok(Self {
                copy: *library.get::<Copy>(b"cudaMemcpyAsync")?,
                copy_2d: *library.get::<Copy2d>(b"cudaMemcpy2DAsync")?,
                set: *library.get::<Set>(b"cudaMemsetAsync")?,
                set_2d: *library.get::<Set2d>(b"cudaMemset2DAsync")?,
                memory_info: *library.get::<MemoryInfo>(b"cudaMemGetInfo")?,
                wait_for_everything: *library.get::<WaitForEverything>(b"cudaDeviceSynchronize")?,
                properties: *library.get::<Properties>(b"cudaGetDeviceProperties")?,
                synchronize: *library.get::<Synchronize>(b"cudaStreamSynchronize")?,
                error_text: *library.get::<ErrorText>(b"cudaGetErrorString")?,
                last_error: *library.get::<LastError>(b"cudaGetLastError")?,
                _library: library,
            })
        }
    }

    /// Copies a rectangle; done when [`Cuda::synchronize`] returns.
    ///
    /// # Safety
    /// Both sides must be allocated for the rectangle's size, lie where the direction says, and not overlap.
    pub(super) unsafe fn copy(&self, rectangle: &Rectangle, direction: Direction) -> Result<()> {
        let Rectangle { to, to_pitch, from, from_pitch, width, height } = *rectangle;
        let (to, from, kind) = (to.cast(), from.cast(), direction as c_int);
        // A pitch has to stay below 2 GB, which one long stretch need not.
        // SAFETY: the caller's promise; the null stream is the default one.
        let code = unsafe {
            match height {
                1 => (self.copy)(to, from, width, kind, DEFAULT_STREAM),
                _ => (self.copy_2d)(to, to_pitch, from, from_pitch, width, height, kind, DEFAULT_STREAM),
            }
        };
        self.check(code, "a copy on the GPU")
    }

    /// Zeroes a rectangle.
    ///
    /// # Safety
    /// It must be allocated on the card.
    pub(super) unsafe fn zero(&self, to: *mut u8, pitch: usize, width: usize, height: usize) -> Result<()> {
        // SAFETY: the caller's promise; the null stream is the default one.
        let code = unsafe {
            match height {
                1 => (self.set)(to.cast(), 0, width, DEFAULT_STREAM),
                _ => (self.set_2d)(to.cast(), pitch, 0, width, height, DEFAULT_STREAM),
            }
        };
        self.check(code, "zeroing memory of the GPU")
    }

    /// Waits until every copy is done.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: the null stream always exists.
        let code = unsafe { (self.synchronize)(DEFAULT_STREAM) };
        self.check(code, "waiting for the GPU")
    }

    /// Name of the card that this process uses. Fails where there is none.
    pub(super) fn name(&self) -> Result<String> {
        // A structure of about 1,000 bytes that begins with the name, at most 256 bytes of it, in CUDA 12 as in 13.
        let mut properties = [0_u64; 1024];
        // SAFETY: there is more room than the structure takes.
        let code = unsafe { (self.properties)(properties.as_mut_ptr().cast(), 0) };
        self.check(code, "asking for the GPU's name")?;
        let bytes: Vec<u8> = properties.iter().flat_map(|word| word.to_ne_bytes()).take(256).collect();
        let name = CStr::from_bytes_until_nul(&bytes).context("the GPU has no name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// Waits for all that the card has to do, ONNX Runtime's work as well.
    pub(super) fn wait_for_everything(&self) -> Result<()> {
        // SAFETY: has no conditions.
        let code = unsafe { (self.wait_for_everything)() };
        self.check(code, "waiting for the GPU")
    }

    /// Free and total bytes of the card that this process uses, whoever took the rest.
    pub(super) fn free_and_total(&self) -> Result<(usize, usize)> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both point to integers of the size that the function writes.
        let code = unsafe { (self.memory_info)(&raw mut free, &raw mut total) };
        self.check(code, "asking the GPU for its free memory")?;
        Ok((free, total))
    }

    fn check(&self, code: c_int, what: &str) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes the error off the thread, so that ONNX Runtime does not find it at its next call; the text is a
        // constant of the library for every code.
        let text = unsafe {
            (self.last_error)();
            CStr::from_ptr((self.error_text)(code))
        };
        let message = format!("{what} failed: CUDA error {code}, {}", text.to_string_lossy());
        if code == OUT_OF_MEMORY { Err(super::out_of_memory::OutOfMemory(message).into()) } else { bail!(message) }
    }
}
