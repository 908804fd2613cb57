#pragma once

#include <eventcore/persistence/errc.hpp>

#include <filesystem>
#include <memory>

namespace eventcore::internal {

/// Keeps a folder's journal, or what else has one writer, for this process while it lives. LMDB forbids a process to open one
/// environment twice, so every opener registers here, readers too; writers also hold a file lock against all other processes.
class folder_lock {
public:
  enum class mode : std::uint8_t { reader, writer };

  /// Error: `locked`, naming the holder's process id; `cannot_open`.
  /// `what` is what messages say that the folder holds.
  static result<folder_lock> acquire(const std::filesystem::path& dir, mode how,
                                     const std::string& what = "journal");

  folder_lock(folder_lock&&) noexcept = default;
  folder_lock& operator=(folder_lock&&) noexcept = default;

private:
  struct held;
  explicit folder_lock(std::shared_ptr<held> content)
      : held_{std::move(content)} {}

  std::shared_ptr<held> held_;
};

} // namespace eventcore::internal
