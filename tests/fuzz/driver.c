/* driver.c: a small replacement of libFuzzer, for compilers without it.
 *
 *     fuzz_translator SECONDS DIRECTORY [SEED]
 *
 * Runs the target on each file of the directory, then on mutants of them until the time is up. If
 * the target aborts, its input is written to `crash-input`.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 1024, LONGEST = 8192 };

static struct {
    uint8_t data[LONGEST];
    size_t len;
} corpus[FILES], input;
static unsigned files;
static uint64_t state;

static uint64_t random_below(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void save_input(int signal)
{
    FILE *file = fopen("crash-input", "wb");
    if (file) {
        fwrite(input.data, 1, input.len, file);
        fclose(file);
    }
    fprintf(stderr, "signal %d on %zu bytes, written to crash-input\n", signal, input.len);
    _exit(1);
}

static int read_corpus(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory || chdir(path))
        return -1;
    for (struct dirent *entry; files < FILES && (entry = readdir(directory));) {
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(entry->d_name, "rb");
        if (!file)
            continue;
        corpus[files].len = fread(corpus[files].data, 1, LONGEST, file);
        files++;
        fclose(file);
    }
    closedir(directory);
    return files ? 0 : -1;
}

static void cut(size_t at, size_t n)
{
    memmove(input.data + at, input.data + at + n, input.len - at - n);
    input.len -= n;
}

static void insert(size_t at, const uint8_t *data, size_t n)
{
    if (n > LONGEST - input.len)
        n = LONGEST - input.len;
    memmove(input.data + at + n, input.data + at, input.len - at);
    memmove(input.data + at, data, n);
    input.len += n;
}

static void mutate(void)
{
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, '(', '.', 'q', 'h', 'R', 'b', 0x94, 0x95};
    size_t at = random_below(input.len + 1);
    switch (input.len ? random_below(7) : 6) {
    case 0: input.data[at % input.len] ^= (uint8_t)(1u << random_below(8)); break;
    case 1: input.data[at % input.len] = (uint8_t)random_below(256); break;
    case 2: input.data[at % input.len] = odd[random_below(sizeof odd)]; break;
    case 3: cut(at, random_below(input.len - at + 1) % 9); break;
    case 4: input.data[at % input.len] = input.data[random_below(input.len)]; break;
    case 5: { /* a piece of the input itself */
        uint8_t piece[32];
        size_t from = random_below(input.len), n = random_below(sizeof piece);
        n = n < input.len - from ? n : input.len - from;
        memcpy(piece, input.data + from, n);
        insert(at, piece, n);
        break;
    }
    default: { /* a piece of another file */
        unsigned other = (unsigned)random_below(files);
        size_t from = random_below(corpus[other].len + 1),
               n = random_below(corpus[other].len - from + 1);
        insert(at, corpus[other].data + from, n % 64);
    }
    }
}

int main(int argc, char **argv)
{
    unsigned long tried = 0;
    if (argc < 3 || read_corpus(argv[2])) {
        fprintf(stderr, "usage: %s SECONDS DIRECTORY [SEED]: the directory holds inputs\n",
                argv[0]);
        return 2;
    }
    time_t end = time(NULL) + atol(argv[1]);
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
    state = seed * 2 + 1;
    signal(SIGABRT, save_input);
    for (unsigned i = 0; i < files; i++, tried++) {
        input = corpus[i];
        LLVMFuzzerTestOneInput(input.data, input.len);
    }
    while (time(NULL) < end)
        for (int i = 0; i < 1000; i++, tried++) {
            input = corpus[random_below(files)];
            for (uint64_t n = 1 + random_below(8); n; n--)
                mutate();
            LLVMFuzzerTestOneInput(input.data, input.len);
        }
    printf("%s: %lu inputs from %u files, seed %llu: all well\n", argv[0], tried, files,
           (unsigned long long)seed);
    return 0;
}
