// Reads edgeseg's label maps from shared memory. The layout: docs/shared_memory.md.
//   g++ -std=c++17 -O2 read_label_maps.cpp -o read_label_maps && ./read_label_maps NAME
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

enum Word { STATE = 2, WRITTEN, SLOTS, STRIDE, FIRST_SLOT, CLASSES, CLASS_TABLE };  // of the header
enum State : uint64_t { OPEN = 1, REPLACED, ENDED };

static uint64_t load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

int main(int argc, char** argv) {
    if (argc != 2) return std::fprintf(stderr, "usage: %s NAME\n", argv[0]), 2;
    const std::string name = "/" + std::string(argv[1]);
    std::vector<uint8_t> pixels;
    uint64_t state = REPLACED;
    for (bool again = false; state == REPLACED; again = true) {
        const int file = shm_open(name.c_str(), O_RDONLY, 0);
        struct stat about {};
        if (file < 0 || fstat(file, &about) != 0) return std::perror(name.c_str()), 3;
        void* memory = mmap(nullptr, about.st_size, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (memory == MAP_FAILED) return std::perror("mmap"), 3;
        const auto* bytes = static_cast<const uint8_t*>(memory);
        const auto* words = static_cast<const uint64_t*>(memory);
        uint64_t place = load(words + WRITTEN);  // from the newest on; all of a segment that took another's place
        place = again || place == 0 ? 0 : place - 1;
        while (true) {
            state = load(words + STATE);
            const uint64_t written = load(words + WRITTEN);
            if (place == written) {
                if (state != OPEN) break;
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                continue;
            }
            const uint8_t* slot = bytes + words[FIRST_SLOT] + place % words[SLOTS] * words[STRIDE];
            const auto* about_map = reinterpret_cast<const uint64_t*>(slot);
            const uint64_t sequence = load(about_map);
            const uint64_t frame = about_map[1], captured_ns = about_map[2], height = about_map[3], width = about_map[4];
            if (sequence == 2 * place + 2 && height * width <= words[STRIDE] - 64) {
                pixels.resize(height * width);
                std::memcpy(pixels.data(), slot + 64, height * width);
            }
            std::atomic_thread_fence(std::memory_order_acquire);  // all of the map is read before the second look
            if (sequence != 2 * place + 2 || load(about_map) != sequence) {
                place = load(words + WRITTEN) - 1;  // too slow, it was overwritten: on with the newest
                continue;
            }
            ++place;
            uint64_t counts[256] = {};
            for (const uint8_t label : pixels) ++counts[label];
            const auto now = std::chrono::steady_clock::now().time_since_epoch();  // CLOCK_MONOTONIC, as captured_ns
            const double age_ms = (std::chrono::duration<double>(now).count() * 1e9 - double(captured_ns)) / 1e6;
            std::printf("%ju %ju %jux%ju %.1f", uintmax_t(frame), uintmax_t(captured_ns), uintmax_t(width),
                        uintmax_t(height), age_ms);
            for (uint64_t k = 0; k < words[CLASSES]; ++k) {
                const uint8_t* row = bytes + words[CLASS_TABLE] + 64 * k;  // id, blue, green, red, name
                std::printf(" %s:%.4f", row + 4, double(counts[row[0]]) / double(pixels.size()));
            }
            std::printf("\n");
            std::fflush(stdout);
        }
        munmap(memory, about.st_size);
    }
}
