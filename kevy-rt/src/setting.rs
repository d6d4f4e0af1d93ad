//! Settings of one's own that may be changed while the server runs.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A value that every shard reads and anybody may change while the server runs: a handler, a thread
/// of the program around the server.
///
/// It goes into the stores' settings ([`Store::Settings`](crate::Store::Settings)); each store keeps a
/// [`View`] of it and refreshes that in [`Store::begin`](crate::Store::begin), so that all requests
/// of a turn see one value and reading it costs no more than reading a field:
///
/// ```
/// # use kevy_rt::{Setting, View};
/// struct Rates { per_second: u64 }
/// let rates = Setting::new(Rates { per_second: 10 });
/// let mut view = rates.view();
/// rates.update(|old| Rates { per_second: 2 * old.per_second });
/// assert_eq!(view.per_second, 10);
/// view.refresh();
/// assert_eq!(view.per_second, 20);
/// ```
///
/// A shard sees a change with the first request that it runs a millisecond later. What has to change
/// for all shards in one moment is changed by a command of route `all`.
pub struct Setting<T>(Arc<Shared<T>>);

struct Shared<T> {
    value: Mutex<Arc<T>>,
    /// How often it was changed. Written with the value's lock held, read by views without it: a
    /// view that sees a new number takes the lock, and so finds the value of that number or a
    /// later one.
    version: AtomicU64,
}

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Setting(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.get()).finish()
    }
}

impl<T> Setting<T> {
    /// One with this value. Clones of it are the same setting.
    pub fn new(value: T) -> Self {
        let value = Mutex::new(Arc::new(value));
        Setting(Arc::new(Shared { value, version: AtomicU64::new(0) }))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Arc<T>) -> R) -> R {
        let mut value = self.0.value.lock().unwrap_or_else(|held| held.into_inner());
        change(&mut value)
    }

    /// Its present value.
    pub fn get(&self) -> Arc<T> {
        self.with(|value| value.clone())
    }

    /// Changes it.
    pub fn set(&self, value: T) {
        self.update(|_| value);
    }

    /// Changes it to what `change` makes of its present value; nobody else changes it meanwhile.
    pub fn update(&self, change: impl FnOnce(&T) -> T) {
        self.with(|value| {
            *value = Arc::new(change(value));
            self.0.version.fetch_add(1, Ordering::Release);
        });
    }

    /// A shard's view of it.
    pub fn view(&self) -> View<T> {
        let (value, version) =
            self.with(|value| (value.clone(), self.0.version.load(Ordering::Relaxed)));
        View { setting: self.clone(), value, version }
    }
}

/// A setting as its holder saw it last.
pub struct View<T> {
    setting: Setting<T>,
    value: Arc<T>,
    version: u64,
}

impl<T> View<T> {
    /// Takes in the last change. Answers whether there was one.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        let is_old = self.setting.0.version.load(Ordering::Acquire) != self.version;
        if is_old {
            *self = self.setting.view();
        }
        is_old
    }
}

impl<T> Deref for View<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.value).finish()
    }
}
