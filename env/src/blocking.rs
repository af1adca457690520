//! Work that waits for the disk, for who must not.

/// Does it on a thread that the runtime has for such work; a panic of it goes on here. Needs a tokio runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work);
    done.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
