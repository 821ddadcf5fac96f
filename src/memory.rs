//! How the process holds memory.

/// Arenas of the system's allocator. Rows are made on one thread and freed on another, so that with an arena per thread
/// each of them keeps its own share of free memory: a run of a hundred thousand rows took 50 MB with eight arenas, 35 MB
/// with two, and 15 % longer on a backend that computes nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;

/// Bounds the allocator's arenas. Called once, before any thread is started; a user's own `MALLOC_ARENA_MAX` stands.
pub fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        #[allow(unsafe_code)] // no safe wrapper exists; the call takes two integers
        // SAFETY: mallopt may be called at any time; no other thread runs yet.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        }
    }
}
