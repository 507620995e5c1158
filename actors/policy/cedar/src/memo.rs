//! Compiled sets by their text: the same text compiles to the same set, so this is a pure memo.
use crate::compile::{compile, Compiled, Issue, MAX_BYTES};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const MAX_SETS: usize = 1_024;
const MAX_TEXT: usize = 8 * 1024 * 1024; // of all sets together; a set takes some 30 times its text

pub type Set = Result<Compiled, Vec<Issue>>;

struct Kept {
    text: Box<str>,
    set: Arc<Set>,
    used: AtomicU64,
}

#[derive(Default)]
struct Memo {
    sets: HashMap<(usize, u64), Arc<Kept>>,
    bytes: usize,
    clock: u64,
}

static MEMO: Mutex<Option<Memo>> = Mutex::new(None);

fn with_memo<T>(act: impl FnOnce(&mut Memo) -> T) -> T {
    let mut guard = MEMO.lock().unwrap_or_else(|e| e.into_inner());
    act(guard.get_or_insert_with(Memo::default))
}

// Of some words of the text: it only says where to look; the whole text is compared.
fn sample(bytes: &[u8]) -> u64 {
    let step = (bytes.len() / 64).max(1);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for i in (0..bytes.len()).step_by(step) {
        let mut word = [0u8; 8];
        let end = (i + 8).min(bytes.len());
        word[..end - i].copy_from_slice(&bytes[i..end]);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    hash
}

impl Memo {
    fn find(&mut self, key: (usize, u64)) -> Option<Arc<Kept>> {
        self.clock += 1;
        let kept = self.sets.get(&key)?;
        kept.used.store(self.clock, Ordering::Relaxed);
        Some(kept.clone())
    }

    fn keep(&mut self, key: (usize, u64), text: &str, set: Arc<Set>) {
        while !self.sets.is_empty()
            && (self.sets.len() >= MAX_SETS || self.bytes + text.len() > MAX_TEXT)
        {
            let used = |(_, kept): &(&(usize, u64), &Arc<Kept>)| kept.used.load(Ordering::Relaxed);
            let Some(oldest) = self.sets.iter().min_by_key(used).map(|(key, _)| *key) else { return };
            self.sets.remove(&oldest);
            self.bytes -= oldest.0;
        }
        let kept = Kept { text: text.into(), set, used: AtomicU64::new(self.clock) };
        if self.sets.insert(key, Arc::new(kept)).is_none() {
            self.bytes += text.len();
        }
    }
}

/// The set of a text, compiled at most once while it is remembered; nothing when it is not UTF-8
/// (what is remembered is, so that one pass over a text, the comparison, is enough).
pub fn compiled(bytes: &[u8]) -> Option<Arc<Set>> {
    let key = (bytes.len(), sample(bytes));
    if let Some(kept) = with_memo(|memo| memo.find(key)) {
        if kept.text.as_bytes() == bytes {
            return Some(kept.set.clone());
        }
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let set = Arc::new(compile(text));
    if text.len() <= MAX_BYTES {
        with_memo(|memo| memo.keep(key, text, set.clone()));
    }
    Some(set)
}
