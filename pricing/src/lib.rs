//! The EC2 instance catalogue: types, allocatable resources, zone offerings and prices; bytes in, facts out.
