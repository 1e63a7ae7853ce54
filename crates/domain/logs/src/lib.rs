//! Log drivers: json-file reading and writing
