//! Templates and tables: how lists and details are shown.
