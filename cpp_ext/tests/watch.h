// Put in front of a kernel's source (-include), it reports every access of a body to the test.
#pragma once

#include <cstddef>

void watch_load(const void* pointer, std::size_t bytes);
void watch_store(const void* pointer, std::size_t bytes);

#define EDGESEG_WATCH_LOAD(pointer, bytes) watch_load(pointer, bytes)
#define EDGESEG_WATCH_STORE(pointer, bytes) watch_store(pointer, bytes)
