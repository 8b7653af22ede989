/**
 * Light or dark, before anything is drawn: hence no module. What is chosen here counts more than
 * what the system says.
 */
{
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
