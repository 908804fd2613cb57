/// Applies the events of two journals to a projection's view, and ends when nothing is left to do. It is killed in the middle.

#include "projected.hpp"

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: projection_writer JOURNALS VIEW\n";
    return 2;
  }
  crash::projected_journals<crash::new_projection> p{argv[1], argv[2]};
  if (!p.view) {
    std::cerr << "projection_writer: " << p.view.error().message() << '\n';
    return 3;
  }
  while (p.view->step())
    continue;
  return 0;
}
