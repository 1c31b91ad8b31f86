//! Memory for pieces of images, in huge pages where the kernel has them: of many megabytes that are used once or twice,
//! the faults of small pages cost more than the copying.

use super::*;
use std::ptr::NonNull;

/// What huge pages are aligned to.
const HUGE: usize = 2 << 20;

/// Several buffers of one length, full of zeros; no memory is taken for what is not touched.
pub struct Buffers {
    start: NonNull<c_void>,
    mapped: usize,
    /// To the first huge page.
    skip: usize,
    size: usize,
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; whoever uses a part borrows the whole.
        unsafe { libc::munmap(self.start.as_ptr(), self.mapped) };
    }
}

impl Buffers {
    pub fn new(count: usize, size: usize) -> Result<Buffers> {
        let mapped = count * size + HUGE;
        // SAFETY: a mapping of its own, at an address that the kernel chooses.
        let start = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), mapped, access, kind, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Errno(libc::ENOMEM));
        }
        // SAFETY: advice about the mapping just made; a kernel without huge pages refuses it, which does no harm.
        unsafe { libc::madvise(start, mapped, libc::MADV_HUGEPAGE) };
        let start = NonNull::new(start).ok_or(Errno(libc::ENOMEM))?;
        Ok(Buffers { skip: start.as_ptr().align_offset(HUGE), start, mapped, size })
    }

    pub fn parts(&mut self) -> std::slice::ChunksExactMut<'_, u8> {
        // SAFETY: the mapping is readable, writable, zeroed, ours alone, and `skip` leaves all of the buffers in it.
        let all = unsafe {
            let first = self.start.as_ptr().cast::<u8>().add(self.skip);
            std::slice::from_raw_parts_mut(first, self.mapped - HUGE)
        };
        all.chunks_exact_mut(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_apart_and_zeroed() {
        let mut buffers = Buffers::new(3, 4 << 20).expect("memory");
        for (n, part) in buffers.parts().enumerate() {
            assert_eq!((part.len(), part[0], part[part.len() - 1]), (4 << 20, 0, 0));
            assert_eq!(part.as_ptr().align_offset(HUGE), 0);
            part.fill(n as u8 + 1);
        }
        let seen: Vec<_> = buffers.parts().map(|p| (p[0], p[p.len() - 1])).collect();
        assert_eq!(seen, [(1, 1), (2, 2), (3, 3)]);
    }
}
