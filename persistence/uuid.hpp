#pragma once

#include <eventcore/persistence/error.hpp>

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace eventcore {

/// 128 bits in network order (RFC 9562). The default value is the nil UUID.
struct uuid {
  std::array<std::uint8_t, 16> bytes{};

  /// Parses `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, either case. Error: `invalid_argument`, naming the text.
  static result<uuid> parse(std::string_view text);

  /// A random UUID (version 4) from the system's random source.
  static uuid random();

  bool is_nil() const noexcept { return *this == uuid{}; }
  friend bool operator==(const uuid&, const uuid&) = default;
  friend auto operator<=>(const uuid&, const uuid&) = default;
};

/// Lower-case text form with dashes.
std::string to_string(const uuid& id);

/// Identifies one event for ever; a UUIDv7, so ids of one journal sort by time of making.
using event_id = uuid;

/// Makes UUIDv7 event ids that grow strictly, also when the clock stands still or goes back (RFC 9562,
/// section 6.2, method 3: sub-millisecond bits of the time stamp serve as a counter). Thread-safe and
/// lock-free.
class event_id_generator {
public:
  /// Microseconds since the Unix epoch. Called from any thread.
  using clock = std::function<std::int64_t()>;

  /// An empty `now` stands for the system's clock.
  explicit event_id_generator(clock now = {});

  /// The next id, greater than all this generator made before and than any `observe`d one.
  event_id next();

  /// Makes all later ids greater than `id`: call it with the last id of a journal that is opened.
  /// An id that is no UUIDv7 is passed over.
  void observe(const event_id& id) noexcept;

private:
  clock now_;
  std::atomic<std::uint64_t> last_{0};
};

} // namespace eventcore
