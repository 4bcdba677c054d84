//! What a run answers.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::{ptr, slice};

use crate::{c, Value};

/// The outputs of a run, which outlive their bundle.
pub struct Outputs(ptr::NonNull<c::ea_result>);

// A result is only read, until it is freed.
unsafe impl Send for Outputs {}
unsafe impl Sync for Outputs {}

impl Outputs {
    /// Safety: `result` is what a run gave, and nobody else frees it.
    pub(crate) unsafe fn new(result: *mut c::ea_result) -> Outputs {
        Outputs(ptr::NonNull::new(result).expect("the result of a run"))
    }

    /// The whole of an output, or that of the first row where rows have different numbers of labels.
    pub fn get(&self, name: &str) -> Option<Output<'_>> {
        self.row(name, 0)
    }

    /// Of an output that is an array for each row, without the batch axis, the one of a row.
    pub fn row(&self, name: &str, row: usize) -> Option<Output<'_>> {
        self.array(self.find(name)?, row)
    }

    /// How many arrays an output is: 1, or one for each row; 0 where there is no such output.
    pub fn arrays(&self, name: &str) -> usize {
        self.find(name).map_or(0, |output| unsafe { c::ea_result_arrays(self.0.as_ptr(), output) })
    }

    fn find(&self, name: &str) -> Option<usize> {
        let count = unsafe { c::ea_result_count(self.0.as_ptr()) };
        (0..count).find(|output| self.array(*output, 0).map_or(false, |array| array.name() == name))
    }

    fn array(&self, output: usize, row: usize) -> Option<Output<'_>> {
        let array = unsafe { c::ea_result_array(self.0.as_ptr(), output, row).as_ref() }?;
        Some(Output { array, outputs: PhantomData })
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        unsafe { c::ea_result_free(self.0.as_ptr()) }
    }
}

/// An array of the outputs, which it belongs to.
pub struct Output<'a> {
    array: &'a c::ea_array,
    outputs: PhantomData<&'a Outputs>,
}

impl<'a> Output<'a> {
    pub fn name(&self) -> &'a str {
        // The library reads a manifest only where it is UTF-8.
        unsafe { CStr::from_ptr(self.array.name) }.to_str().expect("a name in UTF-8")
    }

    pub fn shape(&self) -> &'a [i64] {
        unsafe { taken(self.array.shape, self.array.rank) }
    }

    /// "float32" and the like.
    pub fn dtype(&self) -> &'static str {
        unsafe { CStr::from_ptr(c::ea_dtype_name(self.array.dtype)) }.to_str().expect("a name in UTF-8")
    }

    /// The values in row-major order; `None` where they are no `T`.
    pub fn values<T: Value>(&self) -> Option<&'a [T]> {
        let count = self.array.bytes / std::mem::size_of::<T>();
        (self.array.dtype == T::DTYPE).then(|| unsafe { taken(self.array.data.cast(), count) })
    }

    /// The values as they lie in memory, which is how bool and float16 are read.
    pub fn bytes(&self) -> &'a [u8] {
        unsafe { taken(self.array.data.cast(), self.array.bytes) }
    }
}

/// Safety: `count` values lie there for `'a`. C has NULL where there are none, and a slice has not.
unsafe fn taken<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        _ => slice::from_raw_parts(first, count),
    }
}
