use std::sync::Mutex;

use super::*;

/// Tells when it is dropped, and whether the task that held it got to its end.
struct Guard(async_channel::Sender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.try_send("dropped");
    }
}

/// Runs `test` on an executor, with a task that waits for `go` and reports what becomes of it.
fn with_task<F: Future<Output = ()>>(
    test: impl FnOnce(
        AbortHandle,
        async_channel::Sender<()>,
        async_channel::Receiver<&'static str>,
    ) -> F,
) {
    let executor = Arc::new(Executor::new());
    let runtime = SmolRuntime::new(executor.clone(), "alice");
    let (go, wait) = async_channel::bounded::<()>(1);
    let (report, seen) = async_channel::bounded(4);
    let handle = runtime.spawn(Box::pin(async move {
        let guard = Guard(report);
        if wait.recv().await.is_ok() {
            let _ = guard.0.send("finished").await;
        }
    }));
    smol::block_on(executor.run(test(handle, go, seen)));
}

#[test]
fn a_detached_task_lives() {
    with_task(async |handle, go, seen| {
        handle.detach();
        go.send(()).await.unwrap();
        assert_eq!(seen.recv().await, Ok("finished"));
    });
}

#[test]
fn an_aborted_task_is_dropped() {
    with_task(async |handle, go, seen| {
        future::yield_now().await;
        handle.abort();
        assert_eq!(seen.recv().await, Ok("dropped"));
        assert!(go.send(()).await.is_err());
    });
}

#[test]
fn a_dropped_handle_aborts() {
    with_task(async |handle, _go, seen| {
        future::yield_now().await;
        drop(handle);
        assert_eq!(seen.recv().await, Ok("dropped"));
    });
}

#[test]
fn aborting_what_has_finished_is_harmless() {
    with_task(async |handle, go, seen| {
        go.send(()).await.unwrap();
        assert_eq!(seen.recv().await, Ok("finished"));
        assert_eq!(seen.recv().await, Ok("dropped"));
        handle.abort();
    });
}

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    let executor = Arc::new(Executor::new());
    let (told, is_told) = async_channel::bounded(4);
    let runtime = SmolRuntime::new(executor.clone(), "bob").on_panic(move || {
        let _ = told.try_send(());
    });
    smol::block_on(executor.run(async {
        runtime.spawn_detached(Box::pin(async { panic!("one") }));
        is_told.recv().await.unwrap();
        runtime.spawn(Box::pin(async { panic!("{}", 2) })).detach();
        is_told.recv().await.unwrap();
        runtime.spawn_blocking(Box::new(|| panic!("three"))).await;
        is_told.recv().await.unwrap();

        let (done, is_done) = async_channel::bounded(1);
        runtime.spawn_detached(Box::pin(async move {
            done.send(7).await.unwrap();
        }));
        assert_eq!(is_done.recv().await, Ok(7));
    }));
    assert!(is_told.try_recv().is_err(), "three panics, and no more");
}

#[test]
fn blocking_jobs_leave_the_thread_and_are_few_at_a_time() {
    let executor = Arc::new(Executor::new());
    let runtime = SmolRuntime::new(executor.clone(), "alice");
    let here = std::thread::current().id();
    let running = Arc::new(Mutex::new((0, 0)));
    smol::block_on(executor.run(async {
        let (done, is_done) = async_channel::bounded(8);
        for _ in 0..32 {
            let running = running.clone();
            let job = runtime.spawn_blocking(Box::new(move || {
                assert_ne!(std::thread::current().id(), here);
                let mut counts = running.lock().unwrap();
                counts.0 += 1;
                counts.1 = counts.1.max(counts.0);
                drop(counts);
                std::thread::yield_now();
                running.lock().unwrap().0 -= 1;
            }));
            let done = done.clone();
            runtime.spawn_detached(Box::pin(async move {
                job.await;
                done.send(()).await.unwrap();
            }));
        }
        for _ in 0..32 {
            is_done.recv().await.unwrap();
        }
    }));
    let (now, most) = *running.lock().unwrap();
    assert_eq!(now, 0);
    assert!(most <= 2 + UPLOADS + OWN_DOWNLOADS, "{most}");
}

#[test]
fn it_sleeps_and_yields() {
    let executor = Arc::new(Executor::new());
    let runtime = SmolRuntime::new(executor, "alice");
    smol::block_on(async {
        runtime.sleep(Duration::from_millis(1)).await;
        runtime.yield_now().unwrap().await;
    });
    assert_eq!(runtime.yield_frequency(), 1);
}
