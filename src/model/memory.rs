//! Where tensors lie that stay from call to call, the KV cache above all, and how they are filled and moved there: the
//! host's memory, or a GPU's.
//!
//! All that takes is room for tensors, copies of rectangles of bytes and zeroes. On a GPU these are done by the CUDA
//! runtime ([`super::cuda`]): a row of a cache is one strided copy, which `cudaMemcpy2DAsync` is, and it needs no second
//! session, whose gather and scatter operators would write the whole of their output for the sake of one row.

#![allow(unsafe_code)] // bytes of tensors whose element type is known at run time only; every range is checked

use super::cuda::{Cuda, Direction, Rectangle};
use super::out_of_memory;
use anyhow::{Result, anyhow, ensure};
use ort::memory::Allocator;
use ort::value::{DynTensor, TensorElementType};
use std::sync::Mutex;

/// A kind of memory.
pub(super) enum Memory {
    /// The host's.
    Host,
    /// A GPU's.
    Device(Device),
    /// The host's, used as a GPU's is: no stretch is moved onto itself, what the host reads is fetched, and there is only so
    /// much of it.
    #[cfg(test)]
    Pretended(super::pretended::Card),
}

/// A GPU that a session runs on.
pub(super) struct Device {
    cuda: &'static Cuda,
    /// Behind a lock because it may not be used by two threads at once.
    allocator: Mutex<Allocator>,
    /// Memory of the host that the card copies to without a detour.
    pinned: Mutex<Allocator>,
}

impl Device {
    pub(super) fn new(cuda: &'static Cuda, allocator: Allocator, pinned: Allocator) -> Self {
        Self { cuda, allocator: Mutex::new(allocator), pinned: Mutex::new(pinned) }
    }
}

/// Memory that was taken from a [`Memory`]; given back when it goes. Only a pretended GPU keeps accounts: a real one says
/// by itself when it is full.
#[derive(Default)]
pub(super) struct Claim {
    #[cfg(test)]
    _taken: Option<super::pretended::Taken>,
}

/// Stretches of bytes in a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where the first begins.
    pub(super) offset: usize,
    /// From the beginning of one to that of the next.
    pub(super) pitch: usize,
}

/// How many bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Bytes of a stretch.
    pub(super) width: usize,
    /// Stretches.
    pub(super) height: usize,
}

impl Memory {
    /// A zeroed tensor.
    pub(super) fn tensor(&self, element: TensorElementType, shape: &[usize]) -> Result<DynTensor> {
        let make = |allocator: &Allocator| {
            DynTensor::new(allocator, element, shape)
                .map_err(|error| out_of_memory::error(&format!("no room for a tensor of {shape:?}"), &error))
        };
        match self {
            Self::Host => make(&Allocator::default()),
            #[cfg(test)]
            Self::Pretended(_) => make(&Allocator::default()),
            Self::Device(device) => {
                let mut tensor = make(&*lock(&device.allocator)?)?;
                let width = bytes(&tensor)?;
                // SAFETY: the tensor is of this many bytes and on the card.
                unsafe { device.cuda.zero(tensor.data_ptr_mut().cast(), width, width, 1)? };
                device.cuda.synchronize()?;
                Ok(tensor)
            }
        }
    }

    /// A tensor of the host's memory to which [`Memory::download`] is fast; none where the host reads tensors as they are.
    pub(super) fn landing(&self, element: TensorElementType, shape: &[usize]) -> Result<Option<DynTensor>> {
        let make = |allocator: &Allocator| {
            DynTensor::new(allocator, element, shape)
                .map_err(|error| out_of_memory::error(&format!("no host memory for a tensor of {shape:?}"), &error))
        };
        match self {
            Self::Host => Ok(None),
            #[cfg(test)]
            Self::Pretended(_) => make(&Allocator::default()).map(Some),
            Self::Device(device) => make(&*lock(&device.pinned)?).map(Some),
        }
    }

    /// Puts integers into a tensor.
    pub(super) fn upload(&self, data: &[i64], tensor: &mut DynTensor) -> Result<()> {
        let width = size_of_val(data);
        ensure!(width == bytes(tensor)?, "{} integers for a tensor of {:?}; this is a bug", data.len(), tensor.shape());
        let rectangle = Rectangle::stretch(tensor.data_ptr_mut().cast(), data.as_ptr().cast(), width);
        // SAFETY: both sides have `width` bytes.
        unsafe { self.transfer(&rectangle, Direction::Upload)? };
        // The data may go as soon as this returns.
        self.synchronize()
    }

    /// Fetches a tensor to the host.
    pub(super) fn download(&self, from: &DynTensor, to: &mut DynTensor) -> Result<()> {
        let width = bytes(from)?;
        ensure!(width == bytes(to)?, "{:?} cannot be fetched to {:?}; this is a bug", from.shape(), to.shape());
        let rectangle = Rectangle::stretch(to.data_ptr_mut().cast(), from.data_ptr().cast(), width);
        // SAFETY: both sides have `width` bytes.
        unsafe { self.transfer(&rectangle, Direction::Download)? };
        self.synchronize()
    }

    /// Copies stretches from one tensor to another; finished after [`Memory::synchronize`].
    pub(super) fn copy(
        &self,
        (to, there): (&mut DynTensor, Place),
        (from, here): (&DynTensor, Place),
        size: Size,
    ) -> Result<()> {
        if size.width == 0 || size.height == 0 {
            return Ok(());
        }
        check(to, there, size)?;
        check(from, here, size)?;
        // SAFETY: the offsets lie inside the tensors, as was checked.
        let (to, from) = unsafe {
            (to.data_ptr_mut().cast::<u8>().add(there.offset), from.data_ptr().cast::<u8>().add(here.offset))
        };
        let Size { width, height } = size;
        let rectangle = Rectangle { to, to_pitch: there.pitch, from, from_pitch: here.pitch, width, height };
        // SAFETY: both rectangles lie inside their tensors, which are two.
        unsafe { self.transfer(&rectangle, Direction::Within) }
    }

    /// Moves stretches within a tensor, where they may overlap. A GPU cannot do that in place, so it takes them through
    /// `scratch`, which must be as large.
    pub(super) fn shift(
        &self,
        tensor: &mut DynTensor,
        to: Place,
        from: Place,
        size: Size,
        scratch: Option<&mut DynTensor>,
    ) -> Result<()> {
        if size.width == 0 || size.height == 0 {
            return Ok(());
        }
        if let Some(scratch) = scratch {
            let packed = Place { offset: 0, pitch: size.width };
            self.copy((scratch, packed), (tensor, from), size)?;
            return self.copy((tensor, to), (scratch, packed), size);
        }
        check(tensor, to, size)?;
        check(tensor, from, size)?;
        let data: *mut u8 = tensor.data_ptr_mut().cast();
        for row in 0..size.height {
            // SAFETY: both stretches lie inside the tensor; `copy` minds overlaps.
            unsafe {
                std::ptr::copy(
                    data.add(from.offset + row * from.pitch),
                    data.add(to.offset + row * to.pitch),
                    size.width,
                );
            }
        }
        Ok(())
    }

    /// Zeroes stretches of a tensor.
    pub(super) fn zero(&self, tensor: &mut DynTensor, place: Place, size: Size) -> Result<()> {
        if size.width == 0 || size.height == 0 {
            return Ok(());
        }
        check(tensor, place, size)?;
        // SAFETY: the offset lies inside the tensor.
        let start = unsafe { tensor.data_ptr_mut().cast::<u8>().add(place.offset) };
        if let Self::Device(device) = self {
            // SAFETY: the rectangle lies inside the tensor, which is on the card.
            return unsafe { device.cuda.zero(start, place.pitch, size.width, size.height) };
        }
        for row in 0..size.height {
            // SAFETY: the stretch lies inside the tensor.
            unsafe { start.add(row * place.pitch).write_bytes(0, size.width) };
        }
        Ok(())
    }

    /// Takes room for tensors of so many bytes.
    #[cfg_attr(not(test), allow(clippy::unused_self, clippy::unnecessary_wraps, unused_variables))]
    pub(super) fn claim(&self, bytes: usize) -> Result<Claim> {
        #[cfg(test)]
        if let Self::Pretended(card) = self {
            return Ok(Claim { _taken: Some(card.take(bytes)?) });
        }
        Ok(Claim::default())
    }

    /// Takes room for what a prompt pass of so many tokens computes.
    #[cfg_attr(not(test), allow(clippy::unused_self, clippy::unnecessary_wraps, unused_variables))]
    pub(super) fn claim_pass(&self, tokens: usize) -> Result<Claim> {
        #[cfg(test)]
        if let Self::Pretended(card) = self {
            return self.claim(tokens * card.pass_token_bytes);
        }
        Ok(Claim::default())
    }

    /// Waits for copies.
    pub(super) fn synchronize(&self) -> Result<()> {
        if let Self::Device(device) = self {
            return device.cuda.synchronize();
        }
        Ok(())
    }

    /// Whether stretches are moved through a scratch tensor.
    pub(super) fn needs_scratch(&self) -> bool {
        !matches!(self, Self::Host)
    }

    /// Free and total bytes of the GPU; none on the host.
    pub(super) fn free_and_total(&self) -> Result<Option<(usize, usize)>> {
        match self {
            Self::Host => Ok(None),
            Self::Device(device) => device.cuda.free_and_total().map(Some),
            #[cfg(test)]
            Self::Pretended(card) => Ok(Some(card.free_and_total())),
        }
    }

    /// # Safety
    /// Both sides must be allocated for the rectangle, and not overlap.
    unsafe fn transfer(&self, rectangle: &Rectangle, direction: Direction) -> Result<()> {
        if let Self::Device(device) = self {
            // SAFETY: the caller's promise; tensors of this memory are on the card.
            return unsafe { device.cuda.copy(rectangle, direction) };
        }
        let Rectangle { to, to_pitch, from, from_pitch, width, height } = *rectangle;
        for row in 0..height {
            // SAFETY: the caller's promise, on the host.
            unsafe { std::ptr::copy_nonoverlapping(from.add(row * from_pitch), to.add(row * to_pitch), width) };
        }
        Ok(())
    }
}

fn lock(allocator: &Mutex<Allocator>) -> Result<std::sync::MutexGuard<'_, Allocator>> {
    allocator.lock().map_err(|_| anyhow!("a thread panicked while it asked for memory"))
}

/// Bytes of a tensor.
pub(super) fn bytes(tensor: &DynTensor) -> Result<usize> {
    tensor.data_type().byte_size(tensor.shape().num_elements()).ok_or_else(|| anyhow!("a tensor without a size"))
}

/// Refuses stretches that do not lie in a tensor.
fn check(tensor: &DynTensor, place: Place, size: Size) -> Result<()> {
    let end = place.offset + (size.height - 1) * place.pitch + size.width;
    let total = bytes(tensor)?;
    ensure!(
        end <= total && (size.height == 1 || size.width <= place.pitch),
        "bytes up to {end} of a tensor of {total}; this is a bug"
    );
    Ok(())
}

/// The values of a tensor of the host's memory.
pub(super) fn write_raw(tensor: &mut DynTensor, data: &[u8]) -> Result<()> {
    ensure!(data.len() == bytes(tensor)?, "{} bytes for a tensor of {:?}; this is a bug", data.len(), tensor.shape());
    // SAFETY: the tensor has exactly as many bytes, in the host's memory.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), tensor.data_ptr_mut().cast(), data.len()) };
    Ok(())
}
