// A few lines that stand in for a test framework: checks that say where they failed, and a count at the end.
#pragma once

#include <cstdio>

inline long checks_done = 0, checks_failed = 0;

// True where `holds`; else prints `text` with its place. Only the first 20 failures are printed.
inline bool check(bool holds, const char* file, int line, const char* text) {
  ++checks_done;
  if (!holds && ++checks_failed <= 20) std::printf("%s:%d: failed: %s\n", file, line, text);
  return holds;
}

#define CHECK(condition) check((condition), __FILE__, __LINE__, #condition)

// The exit status of a test program.
inline int finish(const char* name) {
  std::printf("%s: %ld checks, %ld failed\n", name, checks_done, checks_failed);
  return checks_failed == 0 && checks_done > 0 ? 0 : 1;
}
