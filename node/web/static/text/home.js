export default {
  en: { title: "Archipel", what: "Your files, sealed on this machine and kept by many: no country, no company, no server." },
  fr: { title: "Archipel", what: "Vos fichiers, scellés sur cette machine et gardés par beaucoup : aucun pays, aucune entreprise, aucun serveur." },
};
