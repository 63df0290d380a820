/**
 * Delays a call until the events stop coming.
 * @param {Function} fn
 */
export function debounce(fn, wait) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(fn, wait);
  };
}
